"""The commands of `uda4inst`, one file each; `uda4inst.cli` puts them together."""
