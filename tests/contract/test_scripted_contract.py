from __future__ import annotations

from typing import TYPE_CHECKING

from holodeck_gen.testing import ProviderContract, ScriptedProvider

if TYPE_CHECKING:
    import holodeck_gen as hg


class TestScripted(ProviderContract):
    def make_provider(self) -> hg.Provider:
        return ScriptedProvider()


class TestScriptedDirect(ProviderContract):
    def make_provider(self) -> hg.Provider:
        return ScriptedProvider(direct=True)
