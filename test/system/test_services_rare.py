#!/usr/bin/python3
"""Rows of doc/SERVICES.md whose servers take long to install or to start: `sudo ./check --all` runs them."""
