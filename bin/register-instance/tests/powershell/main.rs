//! The script for Windows, run by an evaluator of our own on a made-up machine.
//!
//! This is not PowerShell: no registry that we reach has it. The script is parsed by the grammar of tree-sitter, and what
//! it uses of the language, of its cmdlets and of .NET is done here as the documentation of PowerShell 5.1 says. Whatever
//! else comes along ends the test, with its line: nothing is guessed.
//!
//! So these tests show what the script decides and in which order it acts. They cannot show that PowerShell parses the
//! script the same way, that a cmdlet, a type of .NET, Windows or AWS Tools does what is said of it here, how long
//! anything takes, or that an ACL keeps anybody out. Only a Windows shows that.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod agent;
mod cmdlets;
mod commands;
mod dotnet;
mod expressions;
mod functions;
mod machine;
mod methods;
mod operators;
mod run;
mod shell;
mod syntax;
mod time;
mod value;

mod cases;
mod field;
mod laws;
mod network;
mod script;
mod semantics;
mod truth;
