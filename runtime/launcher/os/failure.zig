//! What a call on the system can fail with, in the launcher's words; each system has its own numbers for it.

/// What a caller may want to tell apart; everything else is Failed, and the system's file set keeps its number for the message.
pub const Error = error{
    NotFound,
    Exists,
    AccessDenied,
    ReadOnly,
    NoSpace,
    NotADirectory,
    NotEmpty,
    SymbolicLink,
    WouldBlock,
    NoLocks,
    Interrupted,
    Failed,
};
