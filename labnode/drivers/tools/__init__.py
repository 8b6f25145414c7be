"""Programmers: what brings a student's file into the chip on the board."""
