//! Fuzz targets of the wire formats. `src/bin` has one program for each property.

pub mod properties;
