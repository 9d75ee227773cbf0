"""What commands share towards a person: files written whole, progress, tables of text."""
