"""The words the drawing engine knows, in English and Chinese, and how they are found."""

from __future__ import annotations

import functools
import re
from typing import Final

# canonical word: (English spellings, Chinese spellings); plurals in -s and -es are added below.
_TABLE: Final[dict[str, tuple[str, str]]] = {
    # places
    "mountains": ("mountain|peak|alp|summit|range|hill|mountainous", "山脉|山峰|群山|山"),
    "sea": ("sea|ocean|wave|seascape|sea coast", "海洋|大海|海浪|海"),
    "lake": ("lake|pond|lagoon|lakeside", "湖泊|湖水|湖|池塘"),
    "river": ("river|stream|creek|brook", "河流|江|河|溪"),
    "waterfall": ("waterfall|cascade", "瀑布"),
    "forest": ("forest|wood|woodland|jungle|tree|grove", "森林|树林|丛林|林|树"),
    "city": ("city|cities|skyline|skyscraper|downtown|metropolis|urban|town", "城市|都市|上海|街"),
    "desert": ("desert|dune|sahara|sand dune", "沙漠|沙丘|戈壁|大漠"),
    "island": ("island|isle|archipelago", "海岛|岛屿|岛"),
    "beach": ("beach|shore|seashore|coast", "海滩|沙滩|海岸|海边"),
    "volcano": ("volcano|volcanic|lava|eruption", "火山|熔岩"),
    "canyon": ("canyon|gorge|mesa|butte", "峡谷|丹霞"),
    "meadow": ("meadow|grassland|field|prairie|pasture|grass", "草地|草原|草甸|田野|原野"),
    "underwater": ("underwater|undersea|coral|reef|seabed", "海底|水下|珊瑚"),
    "space": ("space|cosmos|cosmic|universe|outer space", "太空|宇宙|星际"),
    "galaxy": ("galaxy|galaxies|milky way|spiral galaxy", "银河系|银河|星系"),
    "nebula": ("nebula|nebulae", "星云"),
    "planet": ("planet|saturn|ringed planet|exoplanet", "行星|星球|土星"),
    # time of day and season
    "night": ("night|midnight|nighttime|nocturnal", "夜晚|深夜|夜"),
    "dawn": ("dawn|sunrise|daybreak|morning", "黎明|日出|清晨|早晨|拂晓|朝霞"),
    "sunset": ("sunset|sundown|golden hour", "日落|夕阳|落日|晚霞"),
    "dusk": ("dusk|twilight|evening|blue hour", "黄昏|傍晚|暮色"),
    "noon": ("noon|midday|daytime|day|blue sky", "正午|中午|白天|晴天|蓝天"),
    "spring": ("spring|springtime", "春天|春季|春"),
    "summer": ("summer|summertime", "夏天|夏季|夏"),
    "autumn": ("autumn|fall|autumnal", "秋天|秋季|秋|枫"),
    "winter": ("winter|wintry|frozen|ice|icy", "冬天|冬季|冬|冰"),
    # sky and weather
    "storm": ("storm|stormy|thunder|thunderstorm|tempest", "暴风雨|风暴|雷雨|暴雨"),
    "lightning": ("lightning|thunderbolt", "闪电|雷电"),
    "snow": ("snow|snowy|snowfall|snowing|blizzard", "大雪|雪"),
    "rain": ("rain|rainy|raining|drizzle|shower", "雨"),
    "fog": ("fog|foggy|mist|misty|haze|hazy", "雾"),
    "clouds": ("cloud|cloudy|overcast|cumulus|sea of cloud", "云海|白云|云"),
    "rainbow": ("rainbow", "彩虹"),
    "sun": ("sun|sunny|sunlight|sunshine", "太阳|阳光|旭日|烈日"),
    "moon": ("moon|moonlight|moonlit|full moon", "月亮|月光|明月|月"),
    "stars": ("star|starry|starlight|starry sky|starry night", "星空|繁星|星星|星"),
    "aurora": ("aurora|aurorae|northern light|polar light", "极光"),
    "meteor": ("meteor|shooting star|comet|falling star", "流星|彗星"),
    "fireworks": ("firework", "烟花|焰火"),
    # things
    "flowers": ("flower|wildflower|poppy|poppies|tulip|lavender", "鲜花|花海|花"),
    "blossom": ("blossom|cherry blossom|sakura|plum blossom", "樱花|桃花|梅花"),
    "bamboo": ("bamboo", "竹林|竹子|竹"),
    "pine": ("pine|fir|spruce|conifer|pine tree|evergreen", "松林|松树|松"),
    "palm": ("palm|palm tree|tropical", "棕榈|椰树|热带"),
    "pagoda": ("pagoda|temple|shrine", "宝塔|寺庙|塔|寺"),
    "village": ("village|house|cabin|cottage|hut", "村庄|村落|小屋|房子|村"),
    "bridge": ("bridge", "桥"),
    "boat": ("boat|sailboat|ship|sail|junk|fisherman", "帆船|小船|渔船|船|舟"),
    "birds": ("bird|gull|seagull|crane|geese|goose|swallow", "海鸥|飞鸟|鸟|雁|鹤|燕"),
    "fish": ("fish|fishes|shoal", "鱼群|鱼"),
    "lighthouse": ("lighthouse|light house", "灯塔"),
    "lantern": ("lantern|sky lantern|paper lantern", "孔明灯|灯笼|天灯"),
    "balloon": ("balloon|hot air balloon", "热气球|气球"),
    # styles
    "ink": (
        "ink|ink wash|sumi e|ink painting|shan shui|chinese painting",
        "水墨画|水墨|国画|山水画",
    ),
    "neon": ("neon|neon light|vaporwave|synthwave", "霓虹灯|霓虹"),
    "cyberpunk": ("cyberpunk|cyber|futuristic|sci fi|blade runner", "赛博朋克|未来|科幻"),
    "abstract": ("abstract|abstraction|generative|pattern", "抽象"),
    "watercolor": ("watercolor|watercolour|aquarelle", "水彩画|水彩"),
    "minimal": ("minimal|minimalist|minimalism|flat design", "极简|简约"),
    "pastel": ("pastel|soft color|soft colour", "粉彩|柔和"),
    "golden": ("golden|gold|amber", "金色|金黄|黄金"),
    "monochrome": ("monochrome|black and white|noir|grayscale|greyscale", "黑白|单色"),
    "vintage": ("vintage|retro|sepia|old photograph", "复古|怀旧|老照片"),
}

KEYWORDS: Final[tuple[str, ...]] = tuple(_TABLE)
"""Every canonical keyword."""


def spellings(keyword: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The English (singular) and the Chinese spellings of a canonical keyword."""
    english, chinese = _TABLE[keyword]
    return tuple(english.split("|")), tuple(chinese.split("|"))


def match(prompt: str) -> tuple[str, ...]:
    """Canonical keywords found in a prompt, in order of appearance, each once.

    English words match whole and in any case, Chinese words anywhere; where two spellings start
    at the same place, the longer wins.
    """
    pattern, canonical = _lookup()
    found = (" ".join(re.split(r"[\s-]+", hit[0].lower())) for hit in pattern.finditer(prompt))
    return tuple(dict.fromkeys(canonical[spelling] for spelling in found))


@functools.lru_cache(maxsize=1)
def _lookup() -> tuple[re.Pattern[str], dict[str, str]]:
    english: dict[str, str] = {}
    chinese: dict[str, str] = {}
    for keyword in KEYWORDS:
        latin, han = spellings(keyword)
        english |= {word + ending: keyword for word in latin for ending in ("", "s", "es")}
        chinese |= dict.fromkeys(han, keyword)
    # Look-arounds instead of \b: a Chinese character is a word character, so "山mountain"
    # has no word boundary. ASCII keeps look-alikes such as the long s out of the look-up.
    latin_part = rf"(?<![a-z0-9])(?:{_alternatives(english)})(?![a-z0-9])"
    pattern = re.compile(f"{latin_part}|{_alternatives(chinese)}", re.IGNORECASE | re.ASCII)
    return pattern, english | chinese


def _alternatives(words: dict[str, str]) -> str:
    longest_first = sorted(words, key=len, reverse=True)
    return "|".join(word.replace(" ", r"[\s-]+") for word in longest_first)
