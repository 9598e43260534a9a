//! The media type that a client prefers, by `Accept` (RFC 9110, 12.4.2 and 12.5.1).

/// Quality of a media type without `q`, in thousandths.
const QUALITY_MAX: u16 = 1000;

/// Returns whether a client prefers CSV to JSON, by the values of its headers `Accept`.
///
/// The higher quality decides. Of the same quality, CSV must be named more exactly than JSON: as in
/// `text/csv, */*`. A client that accepts neither of them gets JSON.
pub fn prefers_csv<'a>(accept: impl IntoIterator<Item = &'a str>) -> bool {
    let ranges: Vec<_> = accept.into_iter().flat_map(|value| value.split(',')).filter_map(Range::read).collect();
    let csv = preference(&ranges, "text", "csv");
    csv.quality > 0 && csv > preference(&ranges, "application", "json")
}

/// Preference of a client for a media type. The default is that of a type that it does not accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// Quality in thousandths; 0: not accepted.
    quality: u16,
    exactness: Exactness,
}

/// How exactly a range names a media type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Exactness {
    /// `*/*`.
    #[default]
    Any,
    /// `text/*`.
    Type,
    /// `text/csv`.
    Subtype,
}

/// Media range of a header `Accept`. Parameters other than `q` are ignored.
struct Range {
    kind: String,
    subtype: String,
    quality: u16,
}

impl Range {
    /// Reads one range; `None` if it or its quality is malformed.
    fn read(text: &str) -> Option<Self> {
        let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = media_type.split_once('/')?;
        let parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let weight = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let quality = weight.map_or(Some(QUALITY_MAX), |(_, value)| quality(value.trim()))?;
        Some(Self { kind: kind.trim().to_ascii_lowercase(), subtype: subtype.trim().to_ascii_lowercase(), quality })
    }

    /// Returns how exactly the range names a media type; `None` if it does not.
    fn exactness(&self, kind: &str, subtype: &str) -> Option<Exactness> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(Exactness::Any),
            (own, "*") if own == kind => Some(Exactness::Type),
            (own, rest) if own == kind && rest == subtype => Some(Exactness::Subtype),
            _ => None,
        }
    }
}

/// Reads a quality: 0 to 1 with at most three decimals. Returns thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{decimals:0<3}").parse().ok().filter(|quality| *quality <= QUALITY_MAX)
}

/// Returns the preference for a media type: that of the range that names it most exactly.
fn preference(ranges: &[Range], kind: &str, subtype: &str) -> Preference {
    let fitting = ranges.iter().filter_map(|range| Some((range.exactness(kind, subtype)?, range.quality)));
    fitting.max().map(|(exactness, quality)| Preference { quality, exactness }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_preferred_by_quality_and_then_by_exactness() {
        for (accept, csv) in [
            ("text/csv", true),
            ("Text/CSV; header=present; Q=0.3", true),
            ("text/csv;q=1.000", true),
            ("text/csv, application/json;q=0.9", true),
            ("text/csv;q=0.5, application/json;q=0.4", true),
            ("text/csv, */*", true),
            ("text/csv, */*;q=0.1", true),
            ("text/*", true),
            ("text/*;q=0.1, application/json;q=0", true),
            ("application/json;q=0, */*", true),
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/csv;q=0.1", false),
            ("text/csv;q=0.1, application/json", false),
            ("text/csv, application/json", false),
            ("application/*, text/csv;q=0.9", false),
            ("text/csv;q=0", false),
            ("text/csv;q=0.000, */*", false),
            ("text/csv;q=0, text/*", false),
            ("text/csv;q=0, application/json;q=0", false),
            ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", false),
            ("image/png", false),
            ("text/csv;q=2", false),
            ("text/csv;q=0.1234", false),
            ("text/csv;q=-1", false),
            ("text/csv;q=x", false),
            ("text", false),
        ] {
            assert_eq!(prefers_csv([accept]), csv, "{accept}");
        }
        assert!(!prefers_csv([]) && prefers_csv(["application/json;q=0.2", "text/csv;q=0.3"]), "of several headers");
    }
}
