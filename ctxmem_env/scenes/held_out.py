"""The styles that training never draws. Values only.

`temple` and `harbour` combine anew what other styles are made of. `station`, `canyon` and `playroom` have textures and
pieces of their own (`held_out_furniture`) and another light.
"""

from ctxmem_env.scenes.style import PINE, Style, Surface

STEEL, TITANIUM, ROCK, CANDY = (
    "8c98a4 6c7884 3c444c",
    "c4ccd4 a4acb8 606874",
    "c88458 a85c38 e0b088",
    "f07890 f0c048 fff0e0",
)

HELD_OUT: dict[str, Style] = {
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
    "station": Style(
        "corridor",
        (3, 5),
        (4.0, 6.0),
        (
            Surface("vents", 1.6, ("707c88 4c5864 2c343c", "8c9484 687060 3c4438", "a0a8b4 78808c 384858")),
            Surface("hexagons", 1.4, ("586470 404c58 20c0d0", "c8ccd0 a8b0b8 e08030")),
        ),
        (Surface("hexagons", 1.0, ("404850 343c44 181c20", "6c7478 586064 283038")),),
        (Surface("vents", 2.4, ("404850 30383f a0f0ff",)),),
        ("tank", "tank", "console", "console", "pipes", "pipes", "reactor", "crate"),
        0.30,
        (STEEL, TITANIUM),
        ("20c0d0 1890a0 c0ffff", "e08030 b05c18 ffe0a0", "c03848 902030 ffc0c0"),
        height=3.0,
        ambient="d0e8ff",
        falloff=0.045,
        windows=False,
        door_width=1.3,
    ),
    "canyon": Style(
        "garden",
        (1, 1),
        (12.0, 18.0),
        (Surface("strata", 3.0, ("d09060 a85838 f0c898", "b87858 884838 d8a888", "e0b480 c08850 f8e0b8")),),
        (Surface("ripples", 2.4, ("e8c890 d0a868 b88c50", "d8a070 c08454 a06840")),),
        (),
        ("mesa", "mesa", "boulder", "boulder", "boulder", "arch", "cactus", "cactus", "cactus"),
        0.075,
        (ROCK, "a87858 845438 d8b490"),
        ("c84838 a03028 f0c890", "408878 306858 e0e0c0"),
        sun_share=0.6,
        falloff=0.0,
        ambient="fff0d8",
        sky="4878b0 f0d0a0 fff0e0",
    ),
    "playroom": Style(
        "rooms",
        (2, 3),
        (4.5, 6.5),
        (
            Surface("scales", 1.6, ("a8d8f0 80b8e0 f0f8ff", "f8c8d8 e8a0b8 fff0f4", "c8e8b0 a0d088 f4fce8")),
            Surface("mosaic", 2.0, ("f8e0a0 f0a070 fffaf0", "b0a0e0 70c0d0 f8f0ff")),
        ),
        (
            Surface("mosaic", 2.4, ("70b870 e8d060 fff8e0", "e87070 70a8e0 f8f0e8")),
            Surface("hexagons", 1.2, ("f0d8b0 e8c090 ffffff",)),
        ),
        (Surface("scales", 3.0, ("f8f8ff e8e8f8 ffffff",)),),
        ("ball", "ball", "ball", "tower", "tower", "blocks", "blocks", "tunnel"),
        0.34,
        (CANDY, "60b0e0 f0f0a0 ffffff", "a0d860 f06850 ffffff"),
        ("e83848 f8d040 ffffff", "3878d8 60d0c0 ffffff", "f08820 8050c0 ffffff", "48a848 f8f060 ffffff"),
        height=3.2,
        ambient="fff4f8",
        falloff=0.0,
        sun_share=0.4,
    ),
}
