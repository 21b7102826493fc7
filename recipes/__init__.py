"""Recipes that come with solofile: one TOML file a model, with the license texts beside them."""
