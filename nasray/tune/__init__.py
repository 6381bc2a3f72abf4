"""Ray Tune: the only room that imports Ray. Importing the package itself imports none of it."""
