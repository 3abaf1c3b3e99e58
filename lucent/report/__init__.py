"""Static sites that show a whole network."""

from lucent.report.site import SiteSettings, microscope

__all__ = ["SiteSettings", "microscope"]
