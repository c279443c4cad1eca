"""Descriptions of layers that are no information: one file per row of the table of profiles, and what they share."""
