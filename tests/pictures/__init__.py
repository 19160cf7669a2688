"""The pictures of the README, made from the real thing: ``make pictures``."""
