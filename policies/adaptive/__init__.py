"""Policies that change the settings by what they measure."""
