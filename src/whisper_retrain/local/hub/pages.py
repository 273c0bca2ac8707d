"""placeholder"""

ROUTES = []
