"""The map: points, the cut, noise, the picture. Knows arrays and tables, never scorers."""
