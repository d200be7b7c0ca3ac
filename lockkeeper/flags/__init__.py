"""Feature flags in a table of the database they are about: which column an application reads.

``provider`` is for applications: an OpenFeature provider that needs the standard library and
``openfeature-sdk`` alone. The other modules are Lockkeeper's side: ``store`` (the table and its audit),
``switch`` (who is told of a flip), ``ramp`` (1, 10, 50, 100 %, watched, flipped back when something breaks).
"""
