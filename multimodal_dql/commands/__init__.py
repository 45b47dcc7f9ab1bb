"""Command groups, each a small module; `multimodal_dql.cli` puts them together."""
