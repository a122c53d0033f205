//! Why a command has failed, for people and for programs, and its exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use culvert_proto::control::v1;
use serde::Serialize;
use tonic_types::StatusExt as _;

use crate::output::{self, Format};

/// Why the command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The control plane refused, or what was asked of it failed.
    Refused(Box<v1::Failure>),
    /// The command line makes no sense.
    Usage(String),
    /// Nobody answers there.
    Unreachable(String),
    /// The answer cannot be printed.
    Output(io::Error),
}

/// The failure as a JSON document.
#[derive(Serialize)]
struct Document<'a> {
    error: &'a v1::Failure,
}

impl Failure {
    /// Something on this side of the socket.
    pub(crate) fn local(summary: String) -> Self {
        Self::Refused(Box::new(v1::Failure { reason: "LOCAL".to_owned(), summary, ..v1::Failure::default() }))
    }

    pub(crate) const fn usage(summary: String) -> Self {
        Self::Usage(summary)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Output(error) if is_enough(error) => ExitCode::SUCCESS,
            Self::Refused(_) | Self::Output(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }

    /// Says why. Where that cannot be printed either, the exit status is all there is.
    pub(crate) fn print(&self, out: &mut impl Write, format: Format) {
        if matches!(self, Self::Output(error) if is_enough(error)) {
            return;
        }
        let failure = self.to_message();
        let _ = match format {
            Format::Json => output::json(out, &Document { error: &failure }),
            Format::Text => writeln!(out, "culvert: {}", failure.summary).and_then(|()| output::explanation(out, &failure)),
        };
    }

    fn to_message(&self) -> v1::Failure {
        let (reason, summary) = match self {
            Self::Refused(failure) => return v1::Failure::clone(failure),
            Self::Usage(text) => ("USAGE", text.clone()),
            Self::Unreachable(text) => ("UNREACHABLE", text.clone()),
            Self::Output(error) => ("OUTPUT", format!("cannot print: {error}")),
        };
        v1::Failure { reason: reason.to_owned(), summary, ..v1::Failure::default() }
    }
}

/// Whoever read the output has seen enough: `culvert watch | head`.
fn is_enough(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        if status.code() == tonic::Code::Unavailable {
            return Self::Unreachable(format!("the control plane went away: {}", status.message()));
        }
        let summary = status.message().to_owned();
        let Some(mut info) = status.get_details_error_info() else {
            return Self::Refused(Box::new(v1::Failure { reason: name(status.code()).to_owned(), summary, ..v1::Failure::default() }));
        };
        let mut part = |name: &str| info.metadata.remove(name).unwrap_or_default();
        let (ours, theirs, would_match, remedy) = (part("ours"), part("theirs"), part("would_match"), part("remedy"));
        Self::Refused(Box::new(v1::Failure { reason: info.reason, summary, ours, theirs, would_match, remedy }))
    }
}

/// The reason of an error without a better one: gRPC's word for it.
const fn name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn printed(failure: &Failure, format: Format) -> String {
        let mut out = Vec::new();
        failure.print(&mut out, format);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_parts_of_an_error_detail_stand_on_lines_of_their_own_and_in_fields() {
        let metadata = [("ours", "aes256gcm16"), ("theirs", "aes128gcm16"), ("remedy", "let one have the other's")];
        let metadata: HashMap<String, String> = metadata.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let details = ErrorDetails::with_error_info("NO_PROPOSAL_CHOSEN", "culvert.control", metadata);
        let status = tonic::Status::with_error_details(tonic::Code::FailedPrecondition, "no proposal in common", details);
        let failure = Failure::from(status);
        assert_eq!(
            printed(&failure, Format::Text),
            "culvert: no proposal in common\n  ours         aes256gcm16\n  theirs       aes128gcm16\n  remedy       let one have the other's\n"
        );
        let json: serde_json::Value = serde_json::from_str(&printed(&failure, Format::Json)).unwrap();
        let error = &json["error"];
        assert_eq!(
            (&error["reason"], &error["theirs"], &error["would_match"]),
            (&"NO_PROPOSAL_CHOSEN".into(), &"aes128gcm16".into(), &"".into())
        );
    }

    #[test]
    fn an_error_without_detail_has_grpcs_reason() {
        let failure = Failure::from(tonic::Status::not_found("no child is called 'nut'"));
        assert_eq!(printed(&failure, Format::Text), "culvert: no child is called 'nut'\n");
        assert!(printed(&failure, Format::Json).contains("\"reason\":\"NOT_FOUND\""));
    }
}
