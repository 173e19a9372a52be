//! What a check says.

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// sluice runs, but slower, less steadily, or not on every device.
    Warn,
    /// sluice does not run.
    Fail,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One finding, with the command that mends it (or, for a good one, that changes it).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) what: String,
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, what: what.into(), mend: None }
    }

    pub(super) fn warn(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, what: what.into(), mend: Some(mend.into()) }
    }

    pub(super) fn fail(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, what: what.into(), mend: Some(mend.into()) }
    }

    pub(super) fn hint(self, mend: impl Into<String>) -> Finding {
        Finding { mend: Some(mend.into()), ..self }
    }
}
