"""The code that runs encoders, one module a runtime; a card names one of them."""
