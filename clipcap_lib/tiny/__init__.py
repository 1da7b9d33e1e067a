"""The bundled tiny models: how notebook 00 trains, judges and saves them."""
