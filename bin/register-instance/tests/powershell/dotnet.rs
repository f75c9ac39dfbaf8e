//! What the script uses of .NET: types, their members, and objects of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::machine::{AGENT, CLI, LOCK, Machine, Ran, Trouble};
use crate::shell::{Ended, Shell, exception, type_name};
use crate::time::{Kind, Time};
use crate::value::{CUSTOM, HASHTABLE, Object, Value, object};

impl Trouble {
    pub(crate) fn exception(&self) -> Value {
        let of = |of: &'static str, message: &str, result: i64| {
            let made = exception(of, message, Value::Null);
            let Value::Object(members) = &made else { unreachable!() };
            members.set("HResult", Value::Int(result));
            made
        };
        match self {
            Self::Told => of("IO.IOException", "told to fail", -2_146_232_800),
            Self::Full => of("IO.IOException", "There is not enough space on the disk.", -2_147_024_784),
            Self::Shared => of(
                "IO.IOException",
                "The process cannot access the file because it is being used by another process.",
                -2_147_024_864,
            ),
            Self::Denied => of("UnauthorizedAccessException", "Access is denied.", -2_147_024_891),
            Self::Io(message) => of("IO.IOException", message, -2_146_232_800),
            Self::Service(message) => of("InvalidOperationException", message, -2_146_233_079),
            Self::Late => of(
                "ServiceProcess.TimeoutException",
                "Time out has expired and the operation has not been completed.",
                -2_146_232_800,
            ),
        }
    }
}

impl Shell {
    // Casts.

    pub(crate) fn cast(&self, of: &str, value: Value) -> Ended<Value> {
        Ok(match of {
            "void" => Value::Nothing,
            "string" => value.text().into(),
            "bool" => value.is_true().into(),
            "switch" | "scriptblock" => value,
            "int" => {
                let Some(whole) = value.int() else {
                    let message = format!("Cannot convert value \"{}\" to type \"System.Int32\".", value.text());
                    return self.throw("RuntimeException", &message);
                };
                Value::Int(whole)
            }
            "datetime" => match value {
                Value::Time(_) => value,
                other => panic!("line {}: the evaluator makes no time of {other:?}", self.line),
            },
            "pscustomobject" => match value {
                Value::Object(table) if table.of == HASHTABLE => {
                    Value::Object(Rc::new(Object { of: CUSTOM, members: RefCell::new(table.members.borrow().clone()) }))
                }
                other => panic!("line {}: the evaluator makes no object of {other:?}", self.line),
            },
            "security.principal.windowsprincipal" => object("WindowsPrincipal", vec![]),
            other => panic!("line {}: the evaluator does not know the type [{other}]", self.line),
        })
    }

    // Static members.

    pub(crate) fn static_member(&self, target: &Value, name: &str) -> Value {
        let Value::Type(of) = target else { panic!("line {}: {target:?} is no type", self.line) };
        match (of.as_str(), name) {
            ("datetime", "UtcNow") => Value::Time(Time::utc(self.machine.now)),
            // 0001-01-01T00:00:00.
            ("datetime", "MinValue") => {
                Value::Time(Time { milliseconds: -62_135_596_800_000, kind: Kind::Unspecified })
            }
            ("cultureinfo", "InvariantCulture") => object("CultureInfo", vec![]),
            ("globalization.datetimestyles", "AdjustToUniversal") => Value::Int(16),
            ("globalization.datetimestyles", "AssumeLocal") => Value::Int(32),
            ("io.fileattributes", "ReparsePoint") => Value::Int(0x400),
            ("security.principal.windowsbuiltinrole", "Administrator") => "Administrator".into(),
            ("console", "Error") => object("StandardError", vec![]),
            _ => panic!("line {}: the evaluator does not know [{of}]::{name}", self.line),
        }
    }

    pub(crate) fn static_method(&mut self, target: &Value, name: &str, arguments: &[Value]) -> Ended<Value> {
        let Value::Type(of) = target else { panic!("line {}: {target:?} is no type", self.line) };
        let text = |at: usize| arguments.get(at).map(Value::text).unwrap_or_default();
        Ok(match (of.as_str(), name) {
            ("math", "Min" | "Max" | "Pow") => {
                let [one, other] = arguments else { panic!("two numbers are compared") };
                let (a, b) = (one.number().unwrap(), other.number().unwrap());
                match (name, one, other) {
                    ("Min", Value::Int(a), Value::Int(b)) => Value::Int(*a.min(b)),
                    ("Max", Value::Int(a), Value::Int(b)) => Value::Int(*a.max(b)),
                    ("Min", ..) => Value::Double(a.min(b)),
                    ("Max", ..) => Value::Double(a.max(b)),
                    _ => Value::Double(a.powf(b)),
                }
            }
            ("environment", "GetFolderPath") => match text(0).as_str() {
                "CommonApplicationData" => r"C:\ProgramData".into(),
                "ProgramFiles" => r"C:\Program Files".into(),
                "Windows" => r"C:\Windows".into(),
                other => panic!("line {}: the evaluator does not know the folder {other}", self.line),
            },
            ("environment", "GetEnvironmentVariables") => {
                assert_eq!(text(0), "Machine", "the variables of whoever runs this are not the service's");
                let variables = self.machine.variables.clone();
                object(
                    HASHTABLE,
                    variables.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect(),
                )
            }
            ("io.path", "GetPathRoot") => text(0)[..3].into(),
            ("io.file", "WriteAllText") => {
                let (path, contents) = (text(0), text(1));
                let done = self.machine.step(format!("write {path}"), |machine| machine.write(&path, &contents))?;
                if let Err(trouble) = done {
                    return self.throw_from(name, 2, trouble.exception());
                }
                Value::Nothing
            }
            ("io.file", "Open") => {
                assert_eq!([text(1), text(2), text(3)], ["OpenOrCreate", "ReadWrite", "None"]);
                return self.open_lock(&text(0));
            }
            ("diagnostics.process", "Start") => {
                let Value::Object(start) = &arguments[0] else { panic!("no start information") };
                return self.start_process(start);
            }
            ("timespan", "FromSeconds") => {
                object("TimeSpan", vec![("TotalSeconds", Value::Double(arguments[0].number().unwrap()))])
            }
            ("net.webrequest", "CreateHttp") => {
                let headers = object("WebHeaderCollection", vec![]);
                object(
                    "HttpWebRequest",
                    vec![
                        ("Uri", text(0).into()),
                        ("Method", "GET".into()),
                        ("Proxy", object("SystemProxy", vec![])),
                        ("Timeout", Value::Int(100_000)),
                        ("ReadWriteTimeout", Value::Int(300_000)),
                        ("AllowAutoRedirect", true.into()),
                        ("ContentLength", Value::Int(-1)),
                        ("Headers", headers),
                    ],
                )
            }
            ("security.principal.windowsidentity", "GetCurrent") => object("WindowsIdentity", vec![]),
            ("datetime", "ParseExact") => {
                assert_eq!((text(1).as_str(), arguments[3].int()), ("yyyy-MM-dd HH:mm:ss", Some(48)));
                return match Time::parse(&text(0)) {
                    // A local time as one of UTC.
                    Some(time) => Ok(Value::Time(Time { kind: Kind::Local, ..time }.to_utc())),
                    None => self.unread(name, arguments.len()),
                };
            }
            // What has a zone becomes a local time.
            ("datetime", "Parse") => match Time::parse(&text(0)) {
                Some(time) if time.kind == Kind::Utc => Value::Time(time.to_local()),
                Some(time) => Value::Time(time),
                None => return self.unread(name, arguments.len()),
            },
            ("datetimeoffset", "Parse") => match Time::parse(&text(0)) {
                Some(time) => object("DateTimeOffset", vec![("UtcDateTime", Value::Time(time.to_utc()))]),
                None => return self.unread(name, arguments.len()),
            },
            _ => panic!("line {}: the evaluator does not know [{of}]::{name}()", self.line),
        })
    }

    fn unread<T>(&self, method: &str, arguments: usize) -> Ended<T> {
        let inner = exception("FormatException", "String was not recognized as a valid DateTime.", Value::Null);
        self.throw_from(method, arguments, inner)
    }

    fn open_lock(&mut self, path: &str) -> Ended<Value> {
        assert_eq!(path, LOCK);
        assert!(
            self.machine.file(crate::machine::FOLDER).is_some_and(|folder| folder.is_protected),
            "the lock is where others may write"
        );
        let done = self.machine.step("lock".to_owned(), |machine| {
            if machine.is_locked {
                return Err(Trouble::Shared);
            }
            if machine.is_full {
                return Err(Trouble::Full);
            }
            machine.holds_lock = true;
            Ok(())
        })?;
        match done {
            Ok(()) => Ok(object("FileStream", vec![])),
            Err(trouble) => self.throw_from("Open", 4, trouble.exception()),
        }
    }

    pub(crate) fn run_program(
        &mut self,
        file: &str,
        arguments: &str,
        variables: BTreeMap<String, String>,
    ) -> Ended<Result<Ran, Trouble>> {
        let call = match file {
            AGENT => "register",
            CLI if arguments == "get-instance-information" => "ask the agent",
            other => panic!("line {}: {other} {arguments} is run", self.line),
        };
        let run = |machine: &mut Machine| {
            Ok(match file {
                AGENT if !machine.has_runnable_agent => return Err(Trouble::Denied),
                AGENT => machine.register(arguments, variables),
                _ => machine.ask(),
            })
        };
        self.machine.step(call.to_owned(), run)
    }

    fn start_process(&mut self, start: &Rc<Object>) -> Ended<Value> {
        assert_eq!(start.text("UseShellExecute"), "False");
        for stream in ["RedirectStandardInput", "RedirectStandardOutput", "RedirectStandardError"] {
            assert_eq!(start.text(stream), "True", "{stream}");
        }
        let Some(Value::Object(variables)) = start.get("EnvironmentVariables") else { panic!("no variables") };
        let variables = variables.members.borrow().iter().map(|(name, value)| (name.clone(), value.text())).collect();
        let ran = self.run_program(&start.text("FileName"), &start.text("Arguments"), variables)?;
        let ran = match ran {
            Ok(ran) => ran,
            Err(trouble) => return self.throw_from("Start", 1, trouble.exception()),
        };
        let reader =
            |text: &str| object("StreamReader", vec![("Text", text.into()), ("IsHeld", ran.holds_pipes.into())]);
        Ok(object(
            "RunningProcess",
            vec![
                ("StandardInput", object("StreamWriter", vec![])),
                ("StandardOutput", reader(&ran.out)),
                ("StandardError", reader(&ran.err)),
                ("Hangs", ran.hangs.into()),
                ("ExitCode", Value::Int(ran.code)),
            ],
        ))
    }

    // New objects.

    pub(crate) fn new_object(&self, of: &Value, arguments: Option<Value>) -> Value {
        let (of, arguments) = match of {
            Value::Object(both) => (both.text("Type"), both.get("Arguments").unwrap().elements()),
            of => (of.text(), arguments.map(|one| one.elements()).unwrap_or_default()),
        };
        let text = |at: usize| arguments.get(at).map(Value::text).unwrap_or_default();
        match type_name(&of).as_str() {
            "exception" => exception("Exception", &text(0), Value::Null),
            "collections.arraylist" => Value::List(Rc::new(RefCell::new(vec![]))),
            "io.streamreader" => arguments[0].clone(),
            "diagnostics.processstartinfo" => {
                let inherited = object(HASHTABLE, vec![("AWS_ACCESS_KEY_ID", "of the shell".into())]);
                object(
                    "ProcessStartInfo",
                    vec![
                        ("FileName", "".into()),
                        ("Arguments", "".into()),
                        ("UseShellExecute", true.into()),
                        ("RedirectStandardInput", false.into()),
                        ("RedirectStandardOutput", false.into()),
                        ("RedirectStandardError", false.into()),
                        ("EnvironmentVariables", inherited),
                    ],
                )
            }
            "security.accesscontrol.directorysecurity" => object(
                "DirectorySecurity",
                vec![("Owner", Value::Null), ("IsProtected", false.into()), ("Rules", Vec::new().into())],
            ),
            "security.principal.securityidentifier" => object("SecurityIdentifier", vec![("Value", text(0).into())]),
            "security.accesscontrol.filesystemaccessrule" => {
                assert_eq!(
                    [text(1), text(2), text(3), text(4)],
                    ["FullControl", "ContainerInherit, ObjectInherit", "None", "Allow"]
                );
                object("FileSystemAccessRule", vec![("Who", text(0).into())])
            }
            other => panic!("line {}: the evaluator does not know how to make a {other}", self.line),
        }
    }
}
