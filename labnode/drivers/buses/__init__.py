"""Parts on I2C, SPI and 1-Wire."""
