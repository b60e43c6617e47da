"""Parts of the operating model that an organisation adds as it grows."""
