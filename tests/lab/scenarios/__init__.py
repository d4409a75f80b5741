"""The catalogue: a file is a scenario; names with an underscore hold steps that many share."""
