"""The styles of squares, gardens and courtyards. Values only."""

from ctxmem_env.scenes.style import GREY, OAK, PINE, WALNUT, Style, Surface

OUTDOOR: dict[str, Style] = {
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
}
