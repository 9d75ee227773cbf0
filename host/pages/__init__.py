"""HTML pages, made from JSON alone, and the facts that go into them."""
