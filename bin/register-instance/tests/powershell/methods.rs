//! Methods of text, times and objects of .NET.

use std::rc::Rc;

use crate::machine::{Answer, Machine, Trouble};
use crate::shell::{Ended, Shell, exception};
use crate::time::Kind;
use crate::value::{HASHTABLE, Object, Value, object};

impl Shell {
    pub(crate) fn method(&mut self, target: &Value, name: &str, arguments: &[Value]) -> Ended<Value> {
        let text = |at: usize| arguments.get(at).map(Value::text).unwrap_or_default();
        if target.is_null() {
            return self.throw("RuntimeException", "You cannot call a method on a null-valued expression.");
        }
        if name == "GetType" {
            let of = target.type_name();
            let short = of.rsplit('.').next().unwrap();
            return Ok(object(
                "RuntimeType",
                vec![("Name", short.into()), ("FullName", format!("System.{of}").into())],
            ));
        }
        Ok(match target {
            Value::Text(own) => match (name, arguments.len()) {
                ("Trim", 0) => own.trim().into(),
                ("TrimStart", _) => {
                    let all: String = arguments.iter().map(Value::text).collect();
                    own.trim_start_matches(|c: char| all.contains(c)).into()
                }
                ("TrimEnd", 1) => own.trim_end_matches(|c: char| text(0).contains(c)).into(),
                ("Replace", 2) => own.replace(&text(0), &text(1)).into(),
                ("Substring", 2) => {
                    let at = |at: usize| usize::try_from(arguments[at].int().unwrap()).unwrap();
                    own.chars().skip(at(0)).take(at(1)).collect::<String>().into()
                }
                _ => panic!("line {}: the evaluator does not know the method {name} of text", self.line),
            },
            Value::List(list) if name == "Add" => {
                list.borrow_mut().push(arguments[0].clone());
                Value::Int(i64::try_from(list.borrow().len()).unwrap() - 1)
            }
            Value::Time(time) => match name {
                "ToUniversalTime" => Value::Time(time.to_utc()),
                #[expect(clippy::cast_possible_truncation, reason = "a script runs for minutes")]
                "AddSeconds" | "AddDays" => {
                    let unit = if name == "AddDays" { 86_400_000.0 } else { 1000.0 };
                    let later = time.plus((arguments[0].number().unwrap() * unit) as i64);
                    if later.milliseconds < -62_135_596_800_000 {
                        let inner = exception(
                            "ArgumentOutOfRangeException",
                            "The added or subtracted value results in an un-representable DateTime.",
                            Value::Null,
                        );
                        return self.throw_from(name, 1, inner);
                    }
                    Value::Time(later)
                }
                "ToString" => {
                    assert_eq!((text(0).as_str(), time.kind), ("yyyy-MM-ddTHH:mm:ssZ", Kind::Utc));
                    (time.sortable('T') + "Z").into()
                }
                _ => panic!("line {}: the evaluator does not know the method {name} of a time", self.line),
            },
            Value::Object(own) => return self.object_method(own, name, arguments),
            other => panic!("line {}: the evaluator does not know the method {name} of {other:?}", self.line),
        })
    }

    fn object_method(&mut self, own: &Rc<Object>, name: &str, arguments: &[Value]) -> Ended<Value> {
        let text = |at: usize| arguments.get(at).map(Value::text).unwrap_or_default();
        Ok(match (own.of, name) {
            (HASHTABLE, "Contains" | "ContainsKey") => own.get(&text(0)).is_some().into(),
            (HASHTABLE, "Clear") => {
                own.members.borrow_mut().clear();
                Value::Nothing
            }
            (HASHTABLE, "GetEnumerator") => {
                let entries = own.members.borrow().clone();
                let entry = |(key, value): (String, Value)| {
                    object("DictionaryEntry", vec![("Key", key.into()), ("Value", value)])
                };
                entries.into_iter().map(entry).collect::<Vec<_>>().into()
            }
            ("WindowsPrincipal", "IsInRole") => self.machine.is_administrator.into(),
            ("StandardError", "WriteLine") => {
                self.machine.said += &(text(0) + "\n");
                Value::Nothing
            }
            ("FileStream", "Dispose") => {
                self.machine.holds_lock = false;
                Value::Nothing
            }
            ("DirectorySecurity", "SetOwner") => {
                own.set("Owner", text(0).into());
                Value::Nothing
            }
            ("DirectorySecurity", "GetOwner") => {
                object("SecurityIdentifier", vec![("Value", own.get("Owner").unwrap())])
            }
            ("DirectorySecurity", "SetAccessRuleProtection") => {
                own.set("IsProtected", (arguments[0].is_true() && !arguments[1].is_true()).into());
                Value::Nothing
            }
            ("DirectorySecurity", "AddAccessRule") => {
                let Value::Object(rule) = &arguments[0] else { panic!("no rule") };
                let mut rules = own.get("Rules").unwrap().elements();
                rules.push(rule.get("Who").unwrap());
                own.set("Rules", rules.into());
                Value::Nothing
            }
            ("ServiceController", "Start") => {
                let done = self.machine.step("start".to_owned(), Machine::start_service)?;
                match done {
                    Ok(()) => Value::Nothing,
                    Err(trouble) => return self.throw_from("Start", 0, trouble.exception()),
                }
            }
            ("ServiceController", "WaitForStatus") => {
                let Value::Object(span) = &arguments[1] else { panic!("no time span") };
                if self.machine.service.is_some_and(|status| status == text(0)) {
                    return Ok(Value::Nothing);
                }
                self.pass(span.get("TotalSeconds").unwrap().number().unwrap());
                return self.throw_from("WaitForStatus", 2, Trouble::Late.exception());
            }
            ("StreamWriter" | "HttpWebResponse", "Close") => Value::Nothing,
            ("StreamReader", "ReadToEndAsync") => {
                object("Task", vec![("Result", own.get("Text").unwrap()), ("IsHeld", own.get("IsHeld").unwrap())])
            }
            ("StreamReader", "ReadToEnd") => own.get("Text").unwrap(),
            ("Task", "Wait") => {
                let is_held = own.get("IsHeld").unwrap().is_true();
                if is_held {
                    self.pass(arguments[0].number().unwrap() / 1000.0);
                }
                (!is_held).into()
            }
            ("RunningProcess", "WaitForExit") => {
                let hangs = own.get("Hangs").unwrap().is_true();
                let Some(limit) = arguments.first() else {
                    assert!(!hangs, "line {}: the script waits for ever", self.line);
                    return Ok(Value::Nothing);
                };
                if hangs {
                    self.pass(limit.number().unwrap() / 1000.0);
                }
                (!hangs).into()
            }
            ("RunningProcess", "Kill") => {
                own.set("Hangs", false.into());
                own.set("ExitCode", Value::Int(-1));
                Value::Nothing
            }
            ("WebHeaderCollection", "Add") => {
                if text(1).contains(['\n', '\r']) {
                    let inner =
                        exception("ArgumentException", "Specified value has invalid CRLF characters.", Value::Null);
                    return self.throw_from("Add", 2, inner);
                }
                own.set(&text(0), text(1).into());
                Value::Nothing
            }
            ("HttpWebRequest", "GetResponse") => return self.metadata(own),
            ("HttpWebResponse", "GetResponseStream") => {
                object("StreamReader", vec![("Text", own.get("Text").unwrap()), ("IsHeld", false.into())])
            }
            (of, _) => panic!("line {}: the evaluator does not know the method {name} of a {of}", self.line),
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "a script runs for minutes")]
    fn pass(&mut self, seconds: f64) {
        self.machine.sleep((seconds * 1000.0) as i64);
    }

    /// What the metadata service answers to a request.
    fn metadata(&mut self, request: &Rc<Object>) -> Ended<Value> {
        assert!(request.get("Proxy").unwrap().is_null(), "the metadata service is asked through a proxy");
        let uri = request.text("Uri");
        let path = uri.strip_prefix("http://169.254.169.254/latest/").unwrap_or_else(|| panic!("{uri} is asked"));
        let Some(Value::Object(headers)) = request.get("Headers") else { panic!("no headers") };
        let token = headers.text("X-aws-ec2-metadata-token");
        if path == "api/token" {
            let is_right = request.text("Method") == "PUT" && request.text("ContentLength") == "0";
            assert!(is_right && headers.get("X-aws-ec2-metadata-token-ttl-seconds").is_some());
        } else {
            assert!(headers.get("X-aws-ec2-metadata-token").is_some(), "{path} is asked without a token");
        }
        let done = self.machine.step(format!("metadata {path}"), |machine| Ok(machine.metadata(path, &token)))?;
        let answer = done.unwrap_or(Answer::Nothing);
        let response = |status: u16, text: &str| {
            object("HttpWebResponse", vec![("StatusCode", Value::Int(status.into())), ("Text", text.into())])
        };
        let failure = |message: &str, response: Value| {
            let inner = exception("Net.WebException", message, Value::Null);
            let Value::Object(members) = &inner else { unreachable!() };
            members.set("Response", response);
            inner
        };
        match answer {
            Answer::Text(text) => Ok(response(200, &text)),
            Answer::Redirect if request.get("AllowAutoRedirect").unwrap().is_true() => {
                self.machine.followed += 1;
                Ok(response(200, &Machine::fresh().metadata(path, "token").text()))
            }
            Answer::Redirect => Ok(response(302, "")),
            Answer::Status(status) => {
                let message = format!("The remote server returned an error: ({status}).");
                self.throw_from("GetResponse", 0, failure(&message, response(status, "")))
            }
            Answer::Nothing => {
                self.pass(request.get("Timeout").unwrap().number().unwrap() / 1000.0);
                self.throw_from("GetResponse", 0, failure("The operation has timed out", Value::Null))
            }
        }
    }
}

impl Answer {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }
}

impl Machine {
    fn metadata(&mut self, path: &str, token: &str) -> Answer {
        if let Some((_, answer, times)) =
            self.imds.iter_mut().find(|(part, _, times)| path.contains(part) && *times > 0)
        {
            *times -= 1;
            return answer.clone();
        }
        let text = match path {
            "api/token" => "token",
            _ if token != "token" => return Answer::Status(401),
            "dynamic/instance-identity/document" => {
                r#"{"accountId":"222222222222","region":"us-west-2","instanceId":"i-0123456789abcdef0","imageId":"ami-1"}"#
            }
            "meta-data/iam/security-credentials/" => "TagHubInstance",
            "meta-data/iam/security-credentials/TagHubInstance" => {
                r#"{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"secret","Token":"token"}"#
            }
            _ => return Answer::Status(404),
        };
        Answer::Text(text.to_owned())
    }
}
