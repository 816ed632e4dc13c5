"""What a conversion costs and what it gives, measured on this machine."""
