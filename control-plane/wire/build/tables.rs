//! Writes the schema of every message as Rust statics: names, numbers, labels, kinds, defaults.
//!
//! Statics need no parsing when a daemon starts, cannot fail, and live in read-only pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write as _,
};

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// All messages and enums of the compiled files, by full name.
pub(crate) struct Tables {
    messages: Vec<Message>,
    enums: usize,
    source: String,
}

struct Message {
    name: String,
    rust_path: Option<String>,
}

/// What a field may refer to, by full name.
#[derive(Default)]
struct Names<'a> {
    messages: BTreeMap<String, (usize, &'a DescriptorProto)>,
    enums: BTreeMap<String, (usize, &'a EnumDescriptorProto)>,
}

impl<'a> Names<'a> {
    fn collect(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        message.enum_type.iter().for_each(|nested| self.collect_enum(&name, nested));
        message.nested_type.iter().for_each(|nested| self.collect(&name, nested));
        let next = self.messages.len();
        self.messages.insert(name, (next, message));
    }

    fn collect_enum(&mut self, scope: &str, descriptor: &'a EnumDescriptorProto) {
        let next = self.enums.len();
        self.enums.insert(format!("{scope}.{}", descriptor.name()), (next, descriptor));
    }

    /// Whether a map with messages as values can occur somewhere in the message.
    fn holds_maps(&self, name: &str, seen: &mut BTreeSet<String>) -> bool {
        let Some((_, message)) = self.messages.get(name) else { return false };
        if !seen.insert(name.to_owned()) {
            return false;
        }
        let is_map =
            |entry: &DescriptorProto| entry.options.as_ref().is_some_and(|o| o.map_entry());
        let messages = message.field.iter().filter(|field| field.r#type() == Type::Message);
        let names = messages.map(|field| field.type_name().trim_start_matches('.'));
        is_map(message) && message.field.iter().any(|field| field.r#type() == Type::Message)
            || names.into_iter().any(|name| self.holds_maps(name, seen))
    }

    fn map_entry(&self, field: &FieldDescriptorProto) -> Option<&'a DescriptorProto> {
        let (_, message) = self.messages.get(field.type_name().trim_start_matches('.'))?;
        message.options.as_ref().is_some_and(|options| options.map_entry()).then_some(*message)
    }
}

impl Tables {
    pub(crate) fn from_descriptors(set: &FileDescriptorSet) -> Fallible<Self> {
        let mut names = Names::default();
        for file in &set.file {
            let wanted = |name: &str| file.package() != "google.protobuf" || name == "Duration";
            let messages = file.message_type.iter().filter(|message| wanted(message.name()));
            messages.for_each(|message| names.collect(file.package(), message));
            file.enum_type.iter().for_each(|nested| names.collect_enum(file.package(), nested));
        }
        let mut tables =
            Self { messages: Vec::new(), enums: names.enums.len(), source: String::new() };
        for (name, (id, descriptor)) in &names.enums {
            tables.add_enum(*id, name, descriptor)?;
        }
        for (name, (id, descriptor)) in &names.messages {
            if descriptor.options.as_ref().is_some_and(|options| options.map_entry()) {
                continue;
            }
            tables.add_message(*id, name, descriptor, &names)?;
        }
        Ok(tables)
    }

    fn add_enum(
        &mut self,
        id: usize,
        name: &str,
        descriptor: &EnumDescriptorProto,
    ) -> Fallible<()> {
        let mut by_name: Vec<_> =
            descriptor.value.iter().map(|value| (value.name(), value.number())).collect();
        let mut by_number: Vec<_> =
            descriptor.value.iter().map(|value| (value.number(), value.name())).collect();
        // Stable, so that of several names for one number the first declared is written.
        by_number.sort_by_key(|(number, _)| *number);
        by_number.dedup_by_key(|(number, _)| *number);
        by_name.sort_unstable();
        writeln!(
            self.source,
            "static E{id}: EnumSchema = EnumSchema {{ name: {name:?}, by_name: &{by_name:?}, by_number: &{by_number:?} }};"
        )?;
        Ok(())
    }

    fn add_message(
        &mut self,
        id: usize,
        name: &str,
        descriptor: &DescriptorProto,
        names: &Names<'_>,
    ) -> Fallible<()> {
        let mut fields: Vec<&FieldDescriptorProto> = descriptor.field.iter().collect();
        fields.sort_by_key(|field| field.number());
        let packed =
            |field: &&&FieldDescriptorProto| field.options.as_ref().is_some_and(|o| o.packed());
        if let Some(field) = fields.iter().find(packed) {
            return Err(format!(
                "{name}.{} is packed, which the JSON writer does not read",
                field.name()
            )
            .into());
        }
        if fields.len() > 64 {
            return Err(format!("{name} has more fields than the codecs' bit sets").into());
        }
        let mut source = String::new();
        let mut required = 0_u64;
        for (index, field) in fields.iter().enumerate() {
            if field.label() == Label::Required {
                required |= 1 << index;
            }
            source += &field_source(name, field, names)?;
        }
        let mut by_name: Vec<usize> = (0..fields.len()).collect();
        by_name.sort_by_key(|index| fields[*index].name());
        let holds_maps = names.holds_maps(name, &mut BTreeSet::new());
        writeln!(
            self.source,
            "static M{id}: MessageSchema = MessageSchema {{ name: {name:?}, by_name: &{by_name:?}, required: {required}, holds_maps: {holds_maps}, fields: &[{source}] }};"
        )?;
        let rust_path = rust_path(name);
        if let Some(path) = &rust_path {
            writeln!(
                self.source,
                "impl crate::WireMessage for crate::{path} {{ const SCHEMA: &'static MessageSchema = &M{id}; }}"
            )?;
        }
        self.messages.push(Message { name: format!("M{id}"), rust_path });
        Ok(())
    }

    /// The statics and the `WireMessage` implementations.
    pub(crate) fn schema_source(&self) -> String {
        let all: Vec<String> =
            self.messages.iter().map(|message| format!("&{}", message.name)).collect();
        let enums: Vec<String> = (0..self.enums).map(|id| format!("&E{id}")).collect();
        format!(
            "{}\n/// Every enum.\npub static ENUMS: &[&EnumSchema] = &[{}];\n/// The schema of every message, in the order of their names.\npub static MESSAGES: &[&MessageSchema] = &[{}];\n",
            self.source,
            enums.join(", "),
            all.join(", "),
        )
    }

    /// A macro that calls another macro once per message type; the tests cover them all with it.
    pub(crate) fn every_message_source(&self) -> String {
        let mut source = String::from("macro_rules! for_every_message { ($apply:ident) => {\n");
        for path in self.messages.iter().filter_map(|message| message.rust_path.as_ref()) {
            let _ = writeln!(source, "$apply!(tepui_wire::{path});");
        }
        source + "} }\n"
    }
}

fn field_source(owner: &str, field: &FieldDescriptorProto, names: &Names<'_>) -> Fallible<String> {
    let (label, value) = match (names.map_entry(field), field.label()) {
        (Some(entry), _) => {
            let [key, value] = &entry.field[..] else {
                return Err(
                    format!("{owner}.{} is a map without key and value", field.name()).into()
                );
            };
            if key.r#type() != Type::String {
                return Err(format!("{owner}.{}: only string keys are known", field.name()).into());
            }
            ("Map", value)
        }
        (None, Label::Optional) => ("Optional", field),
        (None, Label::Required) => ("Required", field),
        (None, Label::Repeated) => ("Repeated", field),
    };
    let kind = kind_source(value, names)
        .ok_or_else(|| format!("{owner}.{} has a type the codecs do not know", field.name()))?;
    let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
    let default = match &field.default_value {
        Some(default) if label == "Optional" && !deprecated => {
            format!("Some({:?})", default_json(value.r#type(), default)?)
        }
        _ => "None".to_owned(),
    };
    Ok(format!(
        "FieldSchema {{ name: {:?}, number: {}, label: Label::{label}, kind: {kind}, default: {default} }},",
        field.name(),
        field.number(),
    ))
}

fn kind_source(field: &FieldDescriptorProto, names: &Names<'_>) -> Option<String> {
    let target = field.type_name().trim_start_matches('.');
    let kind = match field.r#type() {
        Type::Bool => "Kind::Bool".to_owned(),
        Type::Int32 => "Kind::Int32".to_owned(),
        Type::Int64 => "Kind::Int64".to_owned(),
        Type::Uint32 => "Kind::Uint32".to_owned(),
        Type::Uint64 => "Kind::Uint64".to_owned(),
        Type::Double => "Kind::Double".to_owned(),
        Type::String => "Kind::String".to_owned(),
        Type::Bytes => "Kind::Bytes".to_owned(),
        Type::Enum => format!("Kind::Enum(&E{})", names.enums.get(target)?.0),
        Type::Message => format!("Kind::Message(&M{})", names.messages.get(target)?.0),
        _ => return None,
    };
    Some(kind)
}

/// The default as the JSON text that stands for it.
fn default_json(kind: Type, default: &str) -> Fallible<String> {
    Ok(match kind {
        Type::Double => format!("{:?}", default.parse::<f64>()?),
        Type::String | Type::Enum => format!("{default:?}"),
        _ => default.to_owned(),
    })
}

/// Where prost puts the message, seen from the crate's root; none for messages of other crates.
fn rust_path(name: &str) -> Option<String> {
    let inner = name.strip_prefix("mesos.v1.")?;
    let mut parts: Vec<&str> = inner.split('.').collect();
    let last = parts.pop()?.to_upper_camel_case();
    let modules: String =
        parts.into_iter().map(|part| format!("{}::", part.to_snake_case())).collect();
    Some(format!("v1::{modules}{last}"))
}
