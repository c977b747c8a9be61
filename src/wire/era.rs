//! The two eras of MCP and the revisions in each.

use std::fmt;

/// Which of the two shapes of the protocol a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, the server may send requests.
    Legacy,
    /// From 2026-07-28: stateless, every request says all it needs in `_meta`.
    Modern,
}

impl Era {
    /// `legacy` or `modern`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A protocol revision that the router speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 2024-11-05: known to backends over stdio only; its HTTP transport is not served.
    V20241105,
    /// 2025-03-26: streamable HTTP, batches.
    V20250326,
    /// 2025-06-18: no batches, version header.
    V20250618,
    /// 2025-11-25: the last with sessions.
    V20251125,
    /// 2026-07-28: stateless.
    V20260728,
}

impl Version {
    /// All, oldest first.
    pub const ALL: [Self; 5] = [
        Self::V20241105,
        Self::V20250326,
        Self::V20250618,
        Self::V20251125,
        Self::V20260728,
    ];
    /// The newest legacy revision: what `initialize` offers to a client that asked for one unknown here.
    pub const NEWEST_LEGACY: Self = Self::V20251125;
    /// The newest modern revision.
    pub const NEWEST_MODERN: Self = Self::V20260728;
    /// What a legacy request without a version header means.
    pub const WITHOUT_HEADER: Self = Self::V20250326;

    /// The revision named by `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// Its date, as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V20241105 => "2024-11-05",
            Self::V20250326 => "2025-03-26",
            Self::V20250618 => "2025-06-18",
            Self::V20251125 => "2025-11-25",
            Self::V20260728 => "2026-07-28",
        }
    }

    /// The era it belongs to.
    pub fn era(self) -> Era {
        if self >= Self::V20260728 {
            Era::Modern
        } else {
            Era::Legacy
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// True where `text` names a revision of the modern era, known here or not: dates sort as text.
pub fn looks_modern(text: &str) -> bool {
    text >= Version::NEWEST_MODERN.as_str()
}
