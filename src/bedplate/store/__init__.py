"""The only package that knows the database, the files and the hashes of the records."""
