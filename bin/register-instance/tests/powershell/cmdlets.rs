//! The cmdlets that the script uses, over the made-up machine.

use serde_json::Value as Json;

use crate::commands::Bound;
use crate::machine::{File, INSTANCE, Trouble};
use crate::operators::like;
use crate::shell::{Ended, Shell, exception};
use crate::time::{Kind, Time};
use crate::value::{CUSTOM, HASHTABLE, Value, object};

impl Shell {
    pub(crate) fn cmdlet(&mut self, name: &str, bound: &Bound, input: Option<Vec<Value>>) -> Ended<Vec<Value>> {
        let text = |parameter: &str| bound.get(parameter).unwrap_or(Value::Null).text();
        match name {
            "set-strictmode" => {
                assert_eq!(text("Version"), "Latest", "only the latest strict mode is known");
                Ok(vec![])
            }
            "write-host" => {
                self.machine.said += &(text("Object") + "\n");
                Ok(vec![])
            }
            "out-null" => Ok(vec![]),
            "join-path" => Ok(vec![format!("{}\\{}", text("Path"), text("ChildPath")).into()]),
            "new-object" => Ok(vec![self.new_object(&bound.get("TypeName").unwrap(), bound.get("ArgumentList"))]),
            "where-object" | "sort-object" | "select-object" => self.listing(name, bound, input.unwrap()),
            "convertfrom-json" => self.read_json(&input.unwrap()),
            "convertto-json" => Ok(vec![to_json(&input.unwrap()[0]).to_string().into()]),
            "start-sleep" => {
                let milliseconds = bound.get("Milliseconds").and_then(|value| value.int());
                let seconds = bound.get("Seconds").and_then(|value| value.int());
                self.machine.sleep(milliseconds.or(seconds.map(|seconds| seconds * 1000)).unwrap());
                Ok(vec![])
            }
            "get-random" => Ok(vec![Value::Double(0.0)]),
            "get-command" => {
                let is_known = ["New-AWSCredential", "Get-SSMParameter", "New-EC2Tag"].contains(&text("Name").as_str());
                assert!(
                    is_known && text("ErrorAction") == "SilentlyContinue",
                    "only the cmdlets of AWS are looked for"
                );
                Ok(if self.machine.lacks_tools { vec![] } else { vec![object("CmdletInfo", vec![])] })
            }
            "test-path" | "get-content" | "get-item" | "get-childitem" | "new-item" | "move-item" | "remove-item"
            | "get-acl" | "set-acl" => self.files(name, bound),
            "get-service" | "set-service" | "stop-service" | "start-service" | "get-ciminstance" | "get-process"
            | "get-itemproperty" => self.services(name, bound),
            "new-awscredential" => {
                let members = ["AccessKey", "SecretKey", "SessionToken"].map(|name| (name, text(name).into()));
                Ok(vec![object("Credential", members.to_vec())])
            }
            "get-ssmparameter" | "new-ec2tag" => self.aws(name, bound),
            other => panic!("line {}: the evaluator does not know the cmdlet {other}", self.line),
        }
    }

    /// A failure of a cmdlet, which ends it where errors stop, as they do throughout the script.
    pub(crate) fn failed<T>(&mut self, trouble: &Trouble) -> Ended<T> {
        let preference = self.variable("ErrorActionPreference").map(|value| value.text());
        assert_eq!(preference.as_deref(), Some("Stop"), "line {}: only errors that stop are known", self.line);
        let exception = trouble.exception();
        Err(crate::shell::Flow::Throw(self.record(exception)))
    }

    fn listing(&mut self, name: &str, bound: &Bound, input: Vec<Value>) -> Ended<Vec<Value>> {
        let mut found = vec![];
        match name {
            "where-object" => {
                let Some(Value::Block(block)) = bound.get("FilterScript") else { panic!("no block to filter by") };
                let before = self.variable("_").unwrap_or(Value::Null);
                for element in input {
                    self.set("_", element.clone())?;
                    if crate::value::collapse(self.invoke(block, false)?).is_true() {
                        found.push(element);
                    }
                }
                self.set("_", before)?;
            }
            "sort-object" => {
                let property = bound.get("Property").unwrap().text();
                found = input;
                let key = |value: &Value| match value {
                    Value::Object(object) => match object.get(&property) {
                        Some(Value::Time(time)) => time.milliseconds,
                        other => panic!("only times are sorted, not {other:?}"),
                    },
                    other => panic!("only objects are sorted, not {other:?}"),
                };
                found.sort_by_key(key);
            }
            _ => {
                for element in input {
                    let is_known = |known: &Value| bound.has("Unique") && known.text() == element.text();
                    if !found.iter().any(is_known) {
                        found.push(element);
                    }
                }
                let count = |name: &str| bound.get(name).and_then(|count| usize::try_from(count.int()?).ok());
                if let Some(first) = count("First") {
                    found.truncate(first);
                }
                if let Some(last) = count("Last") {
                    found = found.split_off(found.len().saturating_sub(last));
                }
            }
        }
        Ok(found)
    }

    fn read_json(&self, input: &[Value]) -> Ended<Vec<Value>> {
        let [one] = input else { panic!("line {}: one text is read as JSON, not {input:?}", self.line) };
        if one.is_null() {
            return self.throw(
                "ParameterBindingException",
                "Cannot bind argument to parameter 'InputObject' because it is null.",
            );
        }
        let text = one.text();
        if text.trim().is_empty() {
            return Ok(vec![Value::Null]);
        }
        // An array comes as one.
        if let Ok(json) = serde_json::from_str::<Json>(&text) {
            return Ok(vec![from_json(&json)]);
        }
        // Its reader takes names without quotes, and with single ones.
        let inside = text.trim().strip_prefix(['{', '[']).unwrap_or_default().trim_start();
        let is_lenient = inside.starts_with(|c: char| c == '\'' || c.is_ascii_alphabetic());
        assert!(!is_lenient, "5.1 may read as JSON what is none: {text}");
        self.throw("ArgumentException", &format!("Invalid JSON primitive: {text}."))
    }

    fn files(&mut self, name: &str, bound: &Bound) -> Ended<Vec<Value>> {
        let path = bound.get("LiteralPath").or(bound.get("Path")).unwrap().text();
        let done = match name {
            "test-path" => return Ok(vec![self.machine.exists(&path).into()]),
            "get-content" => return self.content(&path, bound),
            "get-childitem" => return self.list(&path, bound),
            "get-item" => {
                let file = self.machine.file(&path).cloned();
                return match file {
                    Some(file) => Ok(vec![item(&path, &file)]),
                    None => self.failed(&Trouble::Io("Cannot find path")),
                };
            }
            "get-acl" => {
                let owner = self.machine.file(&path).unwrap().owner.clone();
                return Ok(vec![object("DirectorySecurity", vec![("Owner", owner.into())])]);
            }
            "new-item" => self.machine.step(format!("make {path}"), |machine| {
                if machine.is_full {
                    return Err(Trouble::Full);
                }
                machine.put(&path, "");
                machine.file_mut(&path).is_folder = true;
                if machine.has_intruder {
                    machine.put(&format!("{path}\\x"), "");
                }
                Ok(vec![object("DirectoryInfo", vec![])])
            })?,
            "set-acl" => {
                let acl = bound.get("AclObject").unwrap();
                let Value::Object(acl) = &acl else { panic!("no ACL") };
                let rules = acl.text("Rules");
                assert_eq!(
                    (acl.text("Owner").as_str(), acl.text("IsProtected").as_str(), rules.as_str()),
                    ("S-1-5-32-544", "True", "S-1-5-32-544 S-1-5-18"),
                    "others may write there"
                );
                self.machine.step(format!("protect {path}"), |machine| {
                    let file = machine.file_mut(&path);
                    (file.is_protected, file.owner) = (true, crate::machine::ADMINISTRATORS.to_owned());
                    Ok(vec![])
                })?
            }
            "move-item" => {
                let to = bound.get("Destination").unwrap().text();
                assert!(bound.has("Force"), "without -Force it fails where there is a file already");
                self.machine.step(format!("move {to}"), |machine| {
                    if machine.file(&to).is_some_and(|file| file.is_folder) {
                        return Err(Trouble::Denied);
                    }
                    let text = machine.text(&path);
                    machine.write(&to, &text)?;
                    machine.remove(&path);
                    Ok(vec![])
                })?
            }
            _ => {
                assert_eq!(bound.get("ErrorAction").unwrap().text(), "SilentlyContinue");
                let done = self.machine.step(format!("remove {path}"), |machine| {
                    machine.remove(&path);
                    Ok(vec![])
                })?;
                return Ok(done.unwrap_or_default());
            }
        };
        done.or_else(|trouble| self.failed(&trouble))
    }

    fn content(&mut self, path: &str, bound: &Bound) -> Ended<Vec<Value>> {
        let read = self.machine.step(format!("read {path}"), |machine| {
            let Some(file) = machine.file(path) else { return Err(Trouble::Io("Cannot find path")) };
            match file.problem {
                Some(problem) => Err(Trouble::Io(problem)),
                None if file.is_folder => Err(Trouble::Denied),
                None => Ok(file.text.clone()),
            }
        })?;
        let text = match read {
            Ok(text) => text,
            Err(trouble) => return self.failed(&trouble),
        };
        if bound.has("Raw") {
            return Ok(if text.is_empty() { vec![] } else { vec![text.into()] });
        }
        let lines: Vec<Value> = text.lines().map(Value::from).collect();
        let tail = usize::try_from(bound.get("Tail").unwrap().int().unwrap()).unwrap();
        Ok(lines[lines.len().saturating_sub(tail)..].to_vec())
    }

    fn list(&mut self, path: &str, bound: &Bound) -> Ended<Vec<Value>> {
        let folder = if path.ends_with('*') { path.rsplit_once('\\').unwrap().0 } else { path };
        if !self.machine.exists(folder) {
            return self.failed(&Trouble::Io("Cannot find path"));
        }
        let inside = format!("{}\\", folder.to_lowercase());
        let known = self.machine.files.iter().filter(|(known, file)| {
            let is_inside = known.strip_prefix(&inside).is_some_and(|name| !name.contains('\\'));
            is_inside && (folder == path || like(known, path)) && !(bound.has("File") && file.is_folder)
        });
        Ok(known.map(|(known, file)| item(known, file)).collect())
    }

    fn services(&mut self, name: &str, bound: &Bound) -> Ended<Vec<Value>> {
        let text = |parameter: &str| bound.get(parameter).unwrap_or(Value::Null).text();
        let named = bound.get("Name").map(|name| name.text());
        assert!(named.is_none_or(|name| name == "AmazonSSMAgent"), "another service is touched");
        let done = match name {
            "get-service" => match self.machine.service {
                Some(status) => Ok(vec![object("ServiceController", vec![("Status", status.into())])]),
                None => Err(Trouble::Service("Cannot find any service with service name")),
            },
            "stop-service" => {
                let is_patient = !bound.has("NoWait");
                self.machine.step("stop".to_owned(), |machine| {
                    machine.stop_service()?;
                    assert!(!is_patient || !machine.stop_hangs, "it waits for ever");
                    Ok(vec![])
                })?
            }
            "start-service" => self.machine.step("start".to_owned(), |machine| {
                if !machine.is_running() {
                    machine.start_service()?;
                }
                Ok(vec![])
            })?,
            "set-service" => {
                assert_eq!(text("StartupType"), "Automatic");
                self.machine.step("set service".to_owned(), |machine| {
                    if machine.cannot_set_service {
                        return Err(Trouble::Denied);
                    }
                    machine.start_mode = "Auto";
                    Ok(vec![])
                })?
            }
            "get-ciminstance" => {
                let class = text("ClassName");
                self.machine.step(format!("ask {class}"), |machine| {
                    Ok(match class.as_str() {
                        "Win32_OperatingSystem" => {
                            let boot = Time::utc(machine.boot).to_local();
                            vec![object("CimInstance", vec![("LastBootUpTime", Value::Time(boot))])]
                        }
                        "Win32_Service" if machine.service.is_some() => {
                            let process = Value::Int(if machine.is_running() { 2817 } else { 0 });
                            vec![object(
                                "CimInstance",
                                vec![("ProcessId", process), ("StartMode", machine.start_mode.into())],
                            )]
                        }
                        "Win32_Service" => vec![],
                        other => panic!("nobody knows here what {other} is"),
                    })
                })?
            }
            "get-process" => match (text("Id").as_str(), self.machine.agent_started) {
                ("2817", Some(started)) => {
                    let started = Value::Time(Time::utc(started).to_local());
                    Ok(vec![object("Process", vec![("StartTime", started)])])
                }
                _ => Err(Trouble::Denied),
            },
            _ => {
                assert_eq!(text("LiteralPath"), r"HKLM:\SYSTEM\CurrentControlSet\Services\AmazonSSMAgent");
                let variables: Vec<Value> =
                    self.machine.service_environment.iter().map(|line| line.as_str().into()).collect();
                let mut members = vec![("ImagePath", "x".into())];
                if !variables.is_empty() {
                    members.push(("Environment", variables.into()));
                }
                Ok(vec![object(CUSTOM, members)])
            }
        };
        done.or_else(|trouble| self.failed(&trouble))
    }

    fn aws(&mut self, name: &str, bound: &Bound) -> Ended<Vec<Value>> {
        let text = |parameter: &str| bound.get(parameter).unwrap_or(Value::Null).text();
        let Some(Value::Object(credential)) = bound.get("Credential") else {
            panic!("AWS is called without credentials")
        };
        let keys = ["AccessKey", "SecretKey", "SessionToken"].map(|part| credential.text(part));
        assert_eq!((keys, text("Region").as_str()), (["ASIA1", "secret", "token"].map(str::to_owned), "us-west-2"));
        let tag = bound.get("Tag");
        let done = self.machine.step(name.to_owned(), |machine| {
            if let Some(at) = machine.aws_says.iter().position(|(operation, _)| *operation == name) {
                return Ok(Err(machine.aws_says.remove(at).1));
            }
            if name == "new-ec2tag" {
                let Some(Value::Object(tag)) = &tag else { panic!("no tag") };
                assert_eq!((text("Resource").as_str(), tag.text("Key").as_str()), (INSTANCE, "managedinstanceid"));
                machine.tag = Some(tag.text("Value"));
                return Ok(Ok(vec![]));
            }
            assert_eq!(text("WithDecryption"), "True");
            let name = text("Name");
            let Some(value) = machine.parameters.get(&name).cloned() else {
                return Ok(Err(crate::machine::AwsTrouble { code: "ParameterNotFound", message: "no", status: 400 }));
            };
            if let Some(renewed) = machine.renewed.take() {
                machine.parameters.insert(name, renewed);
            }
            Ok(Ok(vec![object("Parameter", vec![("Value", value.into())])]))
        })?;
        let told = crate::machine::AwsTrouble { code: "AccessDeniedException", message: "told to fail", status: 400 };
        match done.unwrap_or(Err(told)) {
            Ok(values) => Ok(values),
            Err(trouble) => {
                // The code is beside the message, and not in it.
                let message = trouble.message;
                let inner = if trouble.code.is_empty() {
                    let cause = exception("Net.WebException", "Unable to connect to the remote server", Value::Null);
                    exception("Net.Http.HttpRequestException", "An error occurred while sending the request.", cause)
                } else {
                    let inner = exception("Amazon.Runtime.AmazonServiceException", message, Value::Null);
                    let Value::Object(members) = &inner else { unreachable!() };
                    members.set("ErrorCode", trouble.code.into());
                    members.set("StatusCode", Value::Int(trouble.status.into()));
                    inner
                };
                let outer = exception("InvalidOperationException", message, inner);
                Err(crate::shell::Flow::Throw(self.record(outer)))
            }
        }
    }
}

fn item(path: &str, file: &File) -> Value {
    let name = path.rsplit_once('\\').map_or(path, |(_, name)| name);
    let attributes = i64::from(file.is_folder) * 0x10 + i64::from(file.is_link) * 0x400;
    let length = i64::try_from(file.text.len()).unwrap();
    object(
        "FileInfo",
        vec![
            ("FullName", path.into()),
            ("Name", name.into()),
            ("PSIsContainer", file.is_folder.into()),
            ("Attributes", Value::Int(attributes)),
            ("LastWriteTime", Value::Time(Time { milliseconds: file.modified, kind: Kind::Local })),
            ("Length", Value::Int(length)),
        ],
    )
}

fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Double(number.as_f64().unwrap()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => values.iter().map(from_json).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            object(CUSTOM, fields.iter().map(|(name, value)| (name.as_str(), from_json(value))).collect())
        }
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Object(object) if object.of == HASHTABLE => {
            let members = object.members.borrow();
            members.iter().map(|(name, value)| (name.clone(), to_json(value))).collect()
        }
        other => panic!("nobody knows here what {other:?} is in JSON"),
    }
}
