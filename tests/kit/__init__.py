"""What tests have in common, to import as `from tests.kit.waiting import eventually`."""
