"""Context-as-Memory on Wan, a text-to-video model: context frames, cameras and text around a base checkpoint.

`options`, what an adapter asks for, and `folders`, what lies on disk, load no tensor; `transformer` is the network,
`text` turns prompts into numbers, `generator` is the whole as a `Generator`, and `store` loads and saves.
"""
