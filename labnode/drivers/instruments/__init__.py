"""Instruments that are spoken to in text (SCPI): supplies, meters, generators, oscilloscopes."""
