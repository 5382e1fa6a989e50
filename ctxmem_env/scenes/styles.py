"""Named styles: tables of palettes, materials, sizes, furniture and light. Values only, no code that draws."""

import difflib
from dataclasses import dataclass

Colour = str  # "rrggbb"


@dataclass(frozen=True)
class Surface:
    """A texture, the metres that one repeat spans, and three colours for each choice of palette."""

    texture: str
    scale: float
    palettes: tuple[str, ...]  # "rrggbb rrggbb rrggbb"


@dataclass(frozen=True)
class Style:
    layout: str  # rooms | corridor | square | courtyard | garden
    rooms: tuple[int, int]
    size: tuple[float, float]  # side of a room, or of the square [m]
    walls: tuple[Surface, ...]
    floors: tuple[Surface, ...]
    ceilings: tuple[Surface, ...]
    furniture: tuple[str, ...]
    density: float  # pieces of furniture per square metre
    wood: tuple[str, ...]  # palettes of furniture bodies
    fabric: tuple[str, ...]  # accents
    height: float = 2.8
    ambient: str = "ffffff"
    sun_share: float = 0.3
    falloff: float = 0.02
    sky: str = "5b8fd6 c8dcf0 ffffff"
    pillars: bool = False
    windows: bool = True
    door_width: float = 1.15


OAK, WALNUT, PINE, WHITE, GREY, BLACK = (
    "b08048 8a5e30 5c3d1e",
    "6e4a30 553622 33200f",
    "d8b078 b88a50 8a6030",
    "f0eee8 d8d4cc a8a49c",
    "9aa0a6 80868c 50565c",
    "3c3c42 2c2c30 141416",
)
CREAM_WALLS = ("efe6d2 e4d8be c8b898", "dfe8e4 cfdcd6 a8b8b0", "e8d4c4 dcc2ae b89880", "d8dcea c6ccde a0a8c0")
VIVID_WALLS = (
    "d86a50 c85a42 8a3a28",
    "5a9ab0 4c8aa0 305a6a",
    "e0b850 d0a640 98742a",
    "78a868 68985a 44683a",
    "a878b0 9868a0 684470",
    "e8e0d0 d8cebc b0a490",
)

STYLES: dict[str, Style] = {
    "apartment": Style(
        "rooms",
        (3, 5),
        (3.2, 5.5),
        (
            Surface("plaster", 2.5, VIVID_WALLS),
            Surface("plaster", 2.0, CREAM_WALLS),
            Surface("stripes", 1.2, ("e4dcc8 d0c0a0 a88858", "ccd8e0 a8bccc 708ca0")),
        ),
        (
            Surface("planks", 1.6, (OAK, PINE, WALNUT)),
            Surface("speckle", 1.5, ("a85848 904838 703020", "60788c 50687c 38506a")),
        ),
        (Surface("plain", 1.0, ("f4f2ec f4f2ec f4f2ec",)),),
        ("table", "bed", "shelf", "sofa", "cupboard", "lamp", "plant", "rug", "picture", "picture"),
        0.30,
        (OAK, WALNUT, WHITE),
        ("c04848 a03838 f0e0c0", "3c6ea8 2c5890 e0e8f0", "e0a030 c08820 604010", "4c8c5c 3c7048 d0e0c0"),
    ),
    "office": Style(
        "corridor",
        (3, 5),
        (3.5, 6.0),
        (
            Surface("plain", 1.0, ("e8eaec e8eaec e8eaec", "d4dce4 d4dce4 d4dce4")),
            Surface("plaster", 2.0, ("7c98b4 6c88a4 506880", "b4c4a0 a4b490 788860", "d89860 c88850 986030")),
        ),
        (Surface("speckle", 1.0, ("5c6470 4c5460 3c4450", "707c70 606c60 485448", "746a60 645a50 4a4238")),),
        (Surface("big_tiles", 2.4, ("f0f0f0 e6e6e6 b8bcc0",)),),
        ("desk", "desk", "shelf", "cupboard", "crate", "plant", "picture"),
        0.30,
        (GREY, WHITE, PINE),
        ("3070b0 205890 a0c0e0", "e06030 c04820 f0c0a0", "404850 303840 808890"),
        ambient="f4f8ff",
    ),
    "library": Style(
        "rooms",
        (2, 4),
        (4.0, 6.5),
        (
            Surface("panels", 2.0, ("7a5436 6a4628 3c2412", "4e5c44 425038 283420", "70382e 602c24 3c1812")),
            Surface("plaster", 2.0, ("c8b48c b8a47c 887850",)),
        ),
        (Surface("planks", 1.6, (WALNUT, OAK)), Surface("checks", 1.6, ("5c3a28 8c6444 000000",))),
        (Surface("planks", 2.4, ("d8c8a8 c8b490 8c7448",)),),
        ("bookcase", "bookcase", "bookcase", "desk", "lamp", "rug", "picture"),
        0.32,
        (WALNUT, OAK),
        ("8c2c2c 6c2020 d0a860", "2c5c3c 204830 c8b070", "2c3c6c 202c54 c0b080"),
        ambient="fff0d8",
    ),
    "gallery": Style(
        "rooms",
        (2, 4),
        (4.5, 7.0),
        (
            Surface(
                "plain",
                1.0,
                (
                    "f4f2ee f4f2ee f4f2ee",
                    "6c2a34 6c2a34 6c2a34",
                    "2e4a52 2e4a52 2e4a52",
                    "d8d0bc d8d0bc d8d0bc",
                ),
            ),
        ),
        (
            Surface("marble", 2.5, ("d8d4cc c4bcb0 9a9084", "585c60 484c50 8c9094")),
            Surface("planks", 1.6, (OAK,)),
        ),
        (Surface("plain", 1.0, ("fafafa fafafa fafafa",)),),
        ("picture", "picture", "picture", "picture", "pedestal", "pedestal", "bench"),
        0.34,
        (WHITE, BLACK),
        ("d03838 b02828 f0e8d8", "3058a0 204080 e8e8f0", "e8b830 c89820 302010"),
        height=3.4,
        windows=False,
    ),
    "kitchen": Style(
        "rooms",
        (2, 4),
        (3.2, 5.2),
        (
            Surface("tiles", 1.2, ("f0f0ea e0e8e4 9ab0b0", "a8d0d0 90bcc0 e8f0f0", "f0d890 e4c878 b89040")),
            Surface("plaster", 2.0, ("f0e0a8 e4d090 c0a860", "b8d8b0 a4c89c 78a070")),
        ),
        (
            Surface("checks", 1.2, ("e8e4dc 383838 000000", "e8e4dc a83830 000000", "e8e4dc 386890 000000")),
            Surface("big_tiles", 1.6, ("c88058 b87048 7a4828",)),
        ),
        (Surface("plain", 1.0, ("f8f6f0 f8f6f0 f8f6f0",)),),
        ("counter", "counter", "table", "cupboard", "shelf", "plant", "picture", "barrel"),
        0.36,
        (WHITE, PINE, "70a8a8 5c9494 386868"),
        ("d04030 b03020 f0d0b0", "408c50 307040 e0f0d0", "e8c040 d0a830 806020"),
    ),
    "bathhouse": Style(
        "rooms",
        (2, 4),
        (3.8, 6.2),
        (
            Surface(
                "tiles",
                1.0,
                (
                    "60b0c0 50a0b4 d8f0f0",
                    "3c78a8 306898 c0d8e8",
                    "88c8a8 74b898 e0f4e8",
                    "e8e0d0 d8d0bc a89878",
                ),
            ),
        ),
        (
            Surface("tiles", 1.6, ("e0d8c8 d0c4b0 908470", "a0c0c8 8cb0b8 5c8088")),
            Surface("marble", 2.5, ("e8e4e0 d0ccc8 a8a4a0",)),
        ),
        (Surface("plain", 1.0, ("eef4f4 eef4f4 eef4f4",)),),
        ("pool", "bench", "bench", "vase", "vase", "partition"),
        0.24,
        ("e8e4dc d4ccc0 a09888", OAK),
        ("e8a050 d08838 f0e0c0", "4080b0 306898 d0e0f0"),
        height=3.2,
        pillars=True,
        windows=False,
    ),
    "warehouse": Style(
        "rooms",
        (2, 3),
        (5.0, 7.0),
        (
            Surface("brick", 1.6, ("a85840 8c4430 c0a890", "888c90 74787c b0b4b8", "b89878 a48464 d0c0a8")),
            Surface("bands", 2.4, ("9aa4ac 849098 5c6870",)),
        ),
        (Surface("slabs", 4.0, ("a4a4a0 949490 6c6c68", "8c8880 7c7870 585450")),),
        (Surface("thin_stripes", 3.2, ("8c949c 78808a 5c646c",)),),
        ("crate", "crate", "crate", "crate", "barrel", "barrel", "rack", "partition"),
        0.30,
        (PINE, "c09858 a88048 785828", "6c7c50 5c6c42 3c4828"),
        ("d87020 b85810 402000", "2c68a8 205490 c0d0e0", "c8b020 a89010 303000"),
        height=3.8,
        pillars=True,
    ),
    "school": Style(
        "corridor",
        (3, 5),
        (4.0, 6.5),
        (
            Surface("bands", 5.6, ("e8dca0 78b090 508068", "f0e8d8 e0a060 a06030", "e4ecf0 70a0d0 4070a0")),
            Surface("plaster", 2.0, ("c8dcc0 b8ccb0 88a080", "f0d0a8 e4c090 b08858")),
        ),
        (
            Surface("checks", 2.0, ("b0b8a8 98a090 000000", "c0a888 a89070 000000")),
            Surface("speckle", 2.0, ("98a0a0 889090 687070",)),
        ),
        (Surface("big_tiles", 2.4, ("f4f4f0 e8e8e4 c0c0bc",)),),
        ("desk", "desk", "desk", "cupboard", "bookcase", "board", "picture"),
        0.34,
        (PINE, OAK),
        ("d04848 b03838 f0e0d0", "3880c0 2868a0 d0e0f0", "50a050 408840 e0f0d0", "e8c030 d0a820 705010"),
    ),
    "castle": Style(
        "rooms",
        (2, 4),
        (4.0, 7.0),
        (Surface("stone", 2.4, ("9c948a 867e74 5c564e", "7c8084 6a6e72 484c50", "b0987c 9c8468 6c5840")),),
        (
            Surface("slabs", 2.4, ("7c766c 6a645c 44403a", "8c7c68 786a58 504434")),
            Surface("planks", 2.0, (WALNUT,)),
        ),
        (Surface("planks", 2.4, ("5c4430 4c3624 2c1e12",)),),
        ("table", "barrel", "crate", "banner", "banner", "bench", "rug", "chest"),
        0.26,
        (WALNUT, OAK),
        ("b02828 8c1c1c e0b040", "28489c 1c347c e0c060", "2c7038 205428 e0d080"),
        height=3.6,
        ambient="fff0dc",
        pillars=True,
    ),
    "cabin": Style(
        "rooms",
        (2, 4),
        (3.2, 5.5),
        (
            Surface(
                "planks",
                1.6,
                (
                    "c08c54 a87440 6c4420",
                    "9c6c40 845830 50341a",
                    "d8b484 c49c68 8c6838",
                    "8a5a44 744834 44281a",
                ),
            ),
        ),
        (Surface("planks", 2.0, ("8a6038 744c2a 452c16", "b88c5c a07648 644424")),),
        (Surface("planks", 2.4, ("dcbc8c ccaa78 987848",)),),
        ("bed", "table", "chest", "shelf", "barrel", "rug", "lamp", "picture", "stove"),
        0.32,
        (PINE, OAK, WALNUT),
        ("b83c34 982c28 f0e0c0", "386050 2c4c40 d8c890", "d89038 b87428 582c10"),
        ambient="fff0d8",
    ),
    "hotel": Style(
        "corridor",
        (4, 5),
        (3.6, 5.2),
        (
            Surface("stripes", 1.6, ("d8c8a0 c4a878 987040", "a8b8a0 90a488 647858", "c8a0a0 b48888 804c50")),
            Surface("dots", 1.6, ("385068 587898 587898", "6c3848 905868 905868")),
        ),
        (
            Surface("zigzag", 1.6, ("802c38 a04450 d8b060", "2c4068 445c8c d8c080")),
            Surface("speckle", 1.6, ("8c3c38 7c302c 602020", "3c6450 305444 203c30")),
        ),
        (Surface("plain", 1.0, ("f4ecdc f4ecdc f4ecdc",)),),
        ("bed", "cupboard", "desk", "sofa", "lamp", "lamp", "plant", "picture", "picture"),
        0.32,
        (WALNUT, OAK),
        ("8c2c40 6c2030 e8d0a0", "30587c 244464 d8c890", "c8a860 b09048 604818"),
        ambient="fff4e0",
    ),
    "greenhouse": Style(
        "rooms",
        (2, 3),
        (4.5, 7.0),
        (
            Surface("panes", 1.4, ("a8d4e8 f4f8f4 e0f4f8", "b8e0d8 f0f4ec e8f8f0")),
            Surface("brick", 1.6, ("b87858 a46848 d0c0a8",)),
        ),
        (
            Surface("slabs", 1.6, ("b0a890 a09880 706850",)),
            Surface("speckle", 2.0, ("7c6444 6c5638 4c3c24", "c8b890 b8a880 908060")),
        ),
        (Surface("panes", 1.4, ("c0e4f4 f4f8f8 f0fcff",)),),
        ("planter", "planter", "plant", "plant", "bush", "bench", "crate"),
        0.36,
        (PINE, "b0603c 9c5030 6c3018"),
        ("e05878 c84060 f8e0e8", "e8c840 d0b030 807010", "8050a8 683c90 e0d0f0"),
        ambient="f8fff4",
        sun_share=0.35,
        windows=False,
    ),
    "market": Style(
        "square",
        (1, 1),
        (11.0, 17.0),
        (
            Surface(
                "facade",
                4.4,
                (
                    "d89868 3c4c60 f0e0c8",
                    "e8d090 4c5060 f8f0e0",
                    "b86858 302c38 e8d8c0",
                    "90a8b8 34404c f0f0f0",
                    "c8b8a0 4a3c34 fff0e0",
                ),
            ),
            Surface("facade_tall", 5.0, ("d0c8b8 384858 a08868", "a87050 2c3440 e0c8a0")),
        ),
        (
            Surface("brick", 2.0, ("a89884 968672 6c6052", "8c8c8c 7a7a7a 565656")),
            Surface("slabs", 2.4, ("b8b0a0 a8a090 787060",)),
        ),
        (),
        ("stall", "stall", "stall", "crate", "crate", "barrel", "bench", "tree", "lamppost"),
        0.075,
        (PINE, OAK),
        ("d83838 b82828 f8f0e0", "3070b8 205898 f8f8f0", "e8b030 d09820 f8f0d0", "48a050 388840 f0f8e8"),
        sun_share=0.5,
        falloff=0.0,
    ),
    "garden": Style(
        "garden",
        (1, 1),
        (11.0, 18.0),
        (
            Surface("foliage", 1.8, ("386c30 2c5826 588c48", "4c7c34 3c6828 6ca050")),
            Surface("brick", 1.8, ("b07858 9c6848 c8b8a0", "a8a498 949084 706c60")),
        ),
        (
            Surface("foliage", 2.5, ("74a850 68984a 80b45c", "8cb458 7ea44e 98c064")),
            Surface("speckle", 2.0, ("d0bc94 c4ae84 a89068",)),
        ),
        (),
        ("tree", "tree", "tree", "bush", "bush", "planter", "bench", "pond", "path", "hedge", "hedge"),
        0.085,
        (OAK, "c8c4bc b4b0a8 848078"),
        ("e05070 c83858 f8d0d8", "f0c840 d8b030 886010", "8858b8 7044a0 e0d0f0"),
        sun_share=0.45,
        falloff=0.0,
    ),
    "courtyard": Style(
        "courtyard",
        (1, 1),
        (12.0, 17.0),
        (
            Surface("plaster", 2.5, ("e8d8b0 dcca9c b89c68", "e0a878 d49868 a06840", "f0ece0 e4dece b8b0a0")),
            Surface("stone", 2.4, ("c8b898 b8a886 887858",)),
        ),
        (
            Surface("big_tiles", 2.4, ("c88c64 bc7e56 8c5838", "b8b0a0 aca494 807868")),
            Surface("slabs", 2.0, ("d0c4a8 c4b698 98886a",)),
        ),
        (Surface("planks", 2.4, ("b08c60 a07c50 705030",)),),
        ("planter", "tree", "bench", "vase", "vase", "pond", "table", "crate", "hedge"),
        0.08,
        (OAK, WALNUT),
        ("3078a8 206490 e0e8f0", "c84838 b03828 f0d8c0", "e0a838 c89028 705010"),
        sun_share=0.5,
        falloff=0.0,
        sky="3c7cc8 b8d4f0 ffffff",
    ),
    "dusk": Style(
        "square",
        (1, 1),
        (10.0, 16.0),
        (
            Surface("facade", 4.0, ("5c4c68 f0c860 3c3048", "4c5470 f8d070 343c54", "6c4850 f0b850 442c34")),
            Surface("brick", 1.8, ("6c4444 5c3838 8c7070", "505468 444858 707488")),
        ),
        (Surface("brick", 2.0, ("5c5664 4e4856 3a3642",)), Surface("slabs", 2.4, ("646078 565268 403c50",))),
        (),
        ("lamppost", "lamppost", "bench", "crate", "stall", "tree", "barrel", "hedge"),
        0.07,
        (WALNUT, GREY),
        ("c83c50 a82c40 f0d0a0", "3858a0 284484 e0d8f0"),
        sun_share=0.4,
        falloff=0.0,
        ambient="f0d8f0",
        sky="3c3c78 f0a078 f8c8a8",
    ),
    # Held out: never drawn for a training seed.
    "temple": Style(
        "rooms",
        (2, 3),
        (5.0, 7.0),
        (
            Surface("stone", 2.0, ("e0c890 d0b47c 9c8050", "d8a070 c88e60 8c5a38")),
            Surface("zigzag", 2.0, ("c03830 e0b040 f0e0b0", "207068 e0c060 f0e8c0")),
        ),
        (
            Surface("marble", 2.5, ("c8a080 b48c6c 7c5a40", "407068 346058 a0c0b0")),
            Surface("checks", 2.0, ("e0d0a8 903028 000000",)),
        ),
        (Surface("big_tiles", 3.0, ("a03830 8c2c26 e0b040",)),),
        ("pedestal", "pedestal", "vase", "banner", "bench", "rug", "picture"),
        0.26,
        ("c8a050 b08838 785818", "a03028 882420 581410"),
        ("c83028 a82018 f0c040", "208078 186860 f0d860"),
        height=3.8,
        pillars=True,
        ambient="fff0dc",
        windows=False,
    ),
    "harbour": Style(
        "square",
        (1, 1),
        (11.0, 17.0),
        (
            Surface(
                "planks",
                3.0,
                (
                    "c84840 b03c34 702420",
                    "e8e4dc d8d2c8 a09888",
                    "4880a8 3c7098 284c6c",
                    "e0b048 d0a03c 907028",
                ),
            ),
            Surface("facade", 4.4, ("f0ece4 3c5870 4878a0", "d0e0e8 405060 ffffff")),
        ),
        (Surface("planks", 2.4, ("b0a48c 9c9078 685e4c",)), Surface("slabs", 2.4, ("a8acb0 989ca0 6c7074",))),
        (),
        ("crate", "crate", "crate", "barrel", "barrel", "rack", "pond", "lamppost", "stall"),
        0.085,
        (PINE, "4878a0 3c6890 284866"),
        ("e87030 d05c20 f8e8d0", "2868a8 1c5490 f0f4f8", "c83838 a82828 f8f0e8"),
        sun_share=0.45,
        falloff=0.0,
        sky="78a8c8 dce8ec ffffff",
    ),
}
HELD_OUT_STYLES = ("temple", "harbour")
TRAINING_STYLES = tuple(name for name in STYLES if name not in HELD_OUT_STYLES)


def check_style(style: str) -> str:
    """`style` itself; ValueError with the nearest name if there is no such style."""
    if style in STYLES:
        return style
    nearest = difflib.get_close_matches(str(style), STYLES, n=1, cutoff=0.0)[0]
    raise ValueError(f"style is {style!r}, which does not exist; did you mean {nearest!r}? Styles: {', '.join(STYLES)}")
