//! The compiled descriptors equal the table of the Mesos v1 surface (`proto/mesos-wire.tsv`), in
//! both directions: nothing is missing and nothing is extra.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

const TABLE: &str = include_str!("../proto/mesos-wire.tsv");
const COLUMNS: usize = 9;

/// One line of the table, as its nine columns.
type Row = [String; COLUMNS];

fn rows_of_the_table() -> Vec<Row> {
    TABLE
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            let row = std::array::from_fn(|_| columns.next().unwrap_or_default());
            assert_eq!(columns.next(), None, "more than {COLUMNS} columns: {line}");
            row
        })
        .collect()
}

#[derive(Default)]
struct Rows {
    package: String,
    rows: Vec<Row>,
}

impl Rows {
    fn add(&mut self, kind: &str, owner: &str, rest: [&str; 6]) {
        let columns = [kind, &self.package, owner].into_iter().chain(rest);
        let mut columns = columns.map(str::to_owned);
        self.rows.push(std::array::from_fn(|_| columns.next().unwrap()));
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        assert!(message.extension.is_empty() && message.extension_range.is_empty(), "{name}");
        self.add("message", &name, [""; 6]);
        let maps: BTreeMap<String, String> = message
            .nested_type
            .iter()
            .filter(|nested| nested.options.as_ref().is_some_and(|o| o.map_entry()))
            .map(|entry| {
                let [key, value] = &entry.field[..] else { panic!("map entry of {name}") };
                let spelled = format!("map<{},{}>", type_name(key), type_name(value));
                (format!("{name}.{}", entry.name()), spelled)
            })
            .collect();
        for field in &message.field {
            self.field(&name, message, field, &maps);
        }
        for nested in &message.nested_type {
            if !maps.contains_key(&format!("{name}.{}", nested.name())) {
                self.message(&name, nested);
            }
        }
        for nested in &message.enum_type {
            self.enumeration(&name, nested);
        }
    }

    fn field(
        &mut self,
        owner: &str,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
        maps: &BTreeMap<String, String>,
    ) {
        let spelled = type_name(field);
        let (label, spelled) = match maps.get(&spelled) {
            Some(map) => ("repeated", map.clone()),
            None => match field.label() {
                Label::Optional => ("optional", spelled),
                Label::Required => ("required", spelled),
                Label::Repeated => ("repeated", spelled),
            },
        };
        let mut options = Vec::new();
        if let Some(oneof) = field.oneof_index {
            options.push(format!("oneof={}", message.oneof_decl[oneof as usize].name()));
        }
        if field.options.as_ref().is_some_and(|o| o.deprecated()) {
            options.push("deprecated".to_owned());
        }
        assert_eq!(field.options.as_ref().and_then(|o| o.packed), None, "{owner}.{}", field.name());
        self.add(
            "field",
            owner,
            [
                field.name(),
                &field.number().to_string(),
                label,
                &spelled,
                field.default_value(),
                &options.join(","),
            ],
        );
    }

    fn enumeration(&mut self, scope: &str, descriptor: &EnumDescriptorProto) {
        let name = format!("{scope}.{}", descriptor.name());
        self.add("enum", &name, [""; 6]);
        for value in &descriptor.value {
            let deprecated = value.options.as_ref().is_some_and(|o| o.deprecated());
            let options = if deprecated { "deprecated" } else { "" };
            self.add(
                "value",
                &name,
                [value.name(), &value.number().to_string(), "", "", "", options],
            );
        }
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn rows_of_the_descriptors() -> Vec<Row> {
    let set = FileDescriptorSet::decode(tepui_wire::DESCRIPTOR_SET).unwrap();
    let mut rows = Rows::default();
    for file in set.file.iter().filter(|file| !file.package().starts_with("google.")) {
        assert!(matches!(file.syntax(), "" | "proto2"), "{}", file.name());
        assert!(file.service.is_empty() && file.extension.is_empty(), "{}", file.name());
        file.package().clone_into(&mut rows.package);
        let package = file.package().to_owned();
        file.message_type.iter().for_each(|message| rows.message(&package, message));
        file.enum_type.iter().for_each(|descriptor| rows.enumeration(&package, descriptor));
    }
    rows.rows
}

#[test]
fn the_compiled_descriptors_equal_the_table() {
    let (table, compiled) = (rows_of_the_table(), rows_of_the_descriptors());
    let wanted: BTreeSet<&Row> = table.iter().collect();
    let found: BTreeSet<&Row> = compiled.iter().collect();
    let missing: Vec<_> = wanted.difference(&found).collect();
    let extra: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
    assert_eq!(table.len(), wanted.len(), "the table repeats a line");
    assert_eq!(compiled.len(), found.len(), "the descriptors repeat a line");
}

#[test]
fn the_table_covers_every_package_of_the_surface() {
    let packages: BTreeSet<String> =
        rows_of_the_table().into_iter().map(|row| row[1].clone()).collect();
    let expected = [
        "mesos.v1",
        "mesos.v1.agent",
        "mesos.v1.allocator",
        "mesos.v1.executor",
        "mesos.v1.maintenance",
        "mesos.v1.master",
        "mesos.v1.quota",
        "mesos.v1.resource_provider",
        "mesos.v1.scheduler",
    ];
    assert_eq!(packages, expected.map(str::to_owned).into());
}

#[test]
fn field_numbers_and_names_are_unique_within_a_message() {
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    for row in rows_of_the_descriptors().into_iter().filter(|row| row[0] == "field") {
        assert!(numbers.insert((row[2].clone(), row[4].clone())), "{row:?}");
        assert!(names.insert((row[2].clone(), row[3].clone())), "{row:?}");
    }
}
