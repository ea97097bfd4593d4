"""Agents for fleets: begun as the provisioning table, then trained on."""
