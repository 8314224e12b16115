# Types of options. `merge` gets the definitions of one option, each { file, value }, in order.
lib:
let
  inherit (builtins)
    all
    any
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    genList
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    map
    match
    stringLength
    substring
    tail
    toJSON
    ;
  inherit (lib) nameValuePair showOption;

  mkType =
    {
      name,
      description ? name,
      check ? (_: true),
      merge ? mergeEqual,
      ...
    }@attributes:
    {
      _type = "option-type";
      inherit
        name
        description
        check
        merge
        ;
    }
    // attributes;

  mergeEqual =
    loc: definitions:
    let
      first = (head definitions).value;
    in
    if all (definition: definition.value == first) definitions then
      first
    else
      throw "The option `${showOption loc}' has conflicting definition values:${lib.showDefinitions definitions}";

  isDerivation = value: isAttrs value && (value.type or "") == "derivation";

  mergeAnything =
    loc: definitions:
    let
      values = map (definition: definition.value) definitions;
    in
    if all isAttrs values && !any isDerivation values then
      (attrsOf anything).merge loc definitions
    else if all isList values && length values == 1 then
      (listOf anything).merge loc definitions
    else
      mergeEqual loc definitions;

  simple =
    description: check:
    mkType {
      name = description;
      inherit description check;
    };
  named =
    name: check: description:
    mkType { inherit name check description; };

  anything = mkType {
    name = "anything";
    merge = mergeAnything;
  };

  attrsOf =
    type:
    mkType {
      name = "attrsOf";
      description = "attribute set of ${type.description}";
      check = isAttrs;
      emptyValue = { };
      merge =
        loc: definitions:
        let
          pushed = concatMap (
            definition: map (value: definition // { inherit value; }) (lib.pushDownProperties definition.value)
          ) definitions;
          names = attrNames (foldl' (all': definition: all' // definition.value) { } pushed);
          valueOf =
            name:
            lib.mergeDefinitions (loc ++ [ name ]) type (
              concatMap (
                definition:
                lib.optional (definition.value ? ${name}) {
                  inherit (definition) file;
                  value = definition.value.${name};
                }
              ) pushed
            );
        in
        listToAttrs (
          concatMap (
            name:
            let
              merged = valueOf name;
            in
            lib.optional merged.isDefined (nameValuePair name merged.value)
          ) names
        );
    };

  listOf =
    type:
    mkType {
      name = "listOf";
      description = "list of ${type.description}";
      check = isList;
      emptyValue = [ ];
      merge =
        loc: definitions:
        let
          one =
            definition: index:
            lib.mergeDefinitions (loc ++ [ "[definition 1-entry ${toString (index + 1)}]" ]) type [
              {
                inherit (definition) file;
                value = elemAt definition.value index;
              }
            ];
          merged = concatLists (
            map (definition: genList (one definition) (length definition.value)) definitions
          );
        in
        map (element: element.value) (filter (element: element.isDefined) merged);
    };

  either =
    left: right:
    mkType {
      name = "either";
      description = "${left.description} or ${right.description}";
      check = value: left.check value || right.check value;
      merge =
        loc: definitions:
        if all (definition: left.check definition.value) definitions then
          left.merge loc definitions
        else if all (definition: right.check definition.value) definitions then
          right.merge loc definitions
        else
          mergeEqual loc definitions;
    };

  submodule =
    modules:
    mkType {
      name = "submodule";
      check = value: isAttrs value || isFunction value || isPath value;
      emptyValue = { };
      merge =
        loc: definitions:
        (lib.evalModules {
          prefix = loc;
          specialArgs.name = lib.last loc;
          modules =
            lib.toList modules
            ++ map (
              definition:
              if isAttrs definition.value then
                {
                  _file = definition.file;
                  config = definition.value;
                }
              else
                {
                  _file = definition.file;
                  imports = [ definition.value ];
                }
            ) definitions;
        }).config;
    };

  between =
    low: high: value:
    isInt value && value >= low && value <= high;
in
{
  inherit
    anything
    attrsOf
    either
    listOf
    mkType
    submodule
    ;
  raw = mkType { name = "raw"; };
  unspecified = mkType { name = "unspecified"; };
  attrs = mkType {
    name = "attrs";
    description = "attribute set";
    check = isAttrs;
    emptyValue = { };
    merge = _: foldl' (merged: definition: merged // definition.value) { };
  };
  bool = named "bool" isBool "boolean";
  int = named "int" isInt "signed integer";
  float = named "float" isFloat "floating point number";
  number = simple "signed integer or floating point number" (value: isInt value || isFloat value);
  port = simple "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (between 0 65535);
  ints = {
    unsigned = simple "unsigned integer, meaning >=0" (value: isInt value && value >= 0);
    positive = simple "positive integer, meaning >0" (value: isInt value && value > 0);
    between =
      low: high:
      simple "integer between ${toString low} and ${toString high} (both inclusive)" (between low high);
  };
  str = named "str" isString "string";
  singleLineStr = simple "(optionally newline-terminated) single-line string" (
    value: isString value && match "[^\n]*\n?" value != null
  );
  nonEmptyStr = simple "non-empty string" (
    value: isString value && match "[[:space:]]*" value == null
  );
  strMatching =
    pattern:
    simple "string matching the pattern ${pattern}" (
      value: isString value && match pattern value != null
    );
  lines = mkType {
    name = "lines";
    description = "strings concatenated with \"\\n\"";
    check = isString;
    merge = _: definitions: concatStringsSep "\n" (map (definition: definition.value) definitions);
  };
  path = named "path" (
    value:
    isPath value
    || isDerivation value
    || (isString value && stringLength value > 0 && substring 0 1 value == "/")
  ) "absolute path";
  package = named "package" (value: isDerivation value || isPath value) "package";
  enum =
    values: simple "one of ${concatStringsSep ", " (map toJSON values)}" (value: elem value values);
  nullOr =
    type:
    mkType {
      name = "nullOr";
      description = "null or ${type.description}";
      check = value: value == null || type.check value;
      emptyValue = null;
      merge =
        loc: definitions:
        if all (definition: definition.value == null) definitions then
          null
        else if any (definition: definition.value == null) definitions then
          throw "The option `${showOption loc}' is defined both null and not null:${lib.showDefinitions definitions}"
        else
          type.merge loc definitions;
    };
  oneOf = choices: foldl' either (head choices) (tail choices);
}
