//! The example on the page of this engine works: it is run as it stands there, but for names and places.
