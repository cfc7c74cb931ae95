"""XMP packets: what they hold, and how a property is added without disturbing the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#: Bytes; a packet that is longer is left alone. As elements it would take fifty times as many.
MAX_PACKET = 1 << 21
_END = re.compile(rb"</([A-Za-z_][\w.-]*):RDF\s*>")

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


@attrs.frozen
class Property:
    """One property with its text; `prefix` is the one that its schema suggests."""

    namespace: str
    prefix: str
    name: str
    value: str = ""


def value_of(packet: bytes | None, wanted: Property) -> str | None:
    """The text of a property in `packet`; None where it is absent.

    Raises:
        ValueError: It is not XMP.
    """
    if packet is None:
        return None
    key = f"{{{wanted.namespace}}}{wanted.name}"
    for element in _parsed(packet).iter():
        if element.tag == key:
            return "".join(element.itertext()).strip()
        if key in element.attrib:
            return element.attrib[key]
    return None


def with_properties(packet: bytes | None, properties: Iterable[Property]) -> bytes:
    """`packet`, or a new one, with these properties added; every byte of the rest is kept.

    Raises:
        ValueError: It is not XMP, or of a form that cannot be added to.
    """
    packet = _PACKET.encode() if packet is None else packet.rstrip(b"\0")
    root = _parsed(packet)
    ends = list(_END.finditer(packet))
    if not ends:
        raise ValueError("the XMP has no place to add to")
    # A packet is about one thing, and every description in it has to say so alike.
    about = next(
        (a for e in root.iter(f"{{{_RDF}}}Description") if (a := e.get(f"{{{_RDF}}}about"))), ""
    )
    rdf = ends[-1][1].decode()
    lines = [
        f" <{rdf}:Description {rdf}:about={quoteattr(about)}"
        f' xmlns:{each.prefix}="{each.namespace}">\n'
        f"   <{each.prefix}:{each.name}>{escape(each.value)}</{each.prefix}:{each.name}>\n"
        f"  </{rdf}:Description>\n "
        for each in properties
    ]
    at = ends[-1].start()
    added = packet[:at] + "".join(lines).encode() + packet[at:]
    # To be found here rather than by whoever reads the picture.
    _parsed(added)
    return added


def _parsed(packet: bytes) -> ElementTree.Element:
    if len(packet) > MAX_PACKET:
        raise ValueError(f"the XMP has more than {MAX_PACKET} bytes")
    if b"<!" in packet.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise ValueError("the XMP declares a document type, which it may not")
    try:
        return ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"the XMP cannot be read: {error}") from error
