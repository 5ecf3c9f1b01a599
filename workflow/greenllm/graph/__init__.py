"""Knowledge graphs: triples, where they are read from, linking of a question to an entity, facts as text, questions."""
