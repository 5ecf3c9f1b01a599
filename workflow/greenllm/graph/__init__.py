"""Knowledge graphs: triples and their files, entity linking, facts as text, and generated questions."""
