"""Helpers of the field tests."""
