"""Certified radii of pictures, estimated: for reports and curves, where a decision is not enough.

A decision (`engine/`) asks whether one radius holds and stops as soon as it knows. An estimate
asks how far the certified radius reaches, as CERTIFY of Cohen et al. (arXiv 1902.02918) does. The
class "harmless" is fixed beforehand, so no samples are spent on choosing it.
"""
