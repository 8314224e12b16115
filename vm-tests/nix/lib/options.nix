# Ways to declare options, and what becomes of former ones.
lib:
let
  inherit (lib) concatStringsSep types;

  showOption = concatStringsSep ".";
  showFiles = files: concatStringsSep " and " (map (file: "`${file}'") files);
  mkOption = attributes: attributes // { _type = "option"; };
in
{
  inherit mkOption showFiles showOption;

  mkEnableOption =
    what:
    mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${what}.";
    };

  mkPackageOption =
    pkgs: name: settings:
    let
      path = lib.toList (settings.default or name);
    in
    mkOption {
      type = types.package;
      default = lib.attrByPath path (throw "${showOption path} cannot be found in pkgs") pkgs;
      description = "The ${name} package to use.";
    };

  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };
  literalMD = text: {
    _type = "literalMD";
    inherit text;
  };

  mkRemovedOptionModule =
    path: instructions:
    { options, ... }:
    {
      options = lib.setAttrByPath path (mkOption {
        visible = false;
        apply =
          _:
          throw "The option `${showOption path}' can no longer be used since it's been removed. ${instructions}";
      });
      config.assertions =
        let
          option = lib.getAttrFromPath path options;
        in
        [
          {
            assertion = !option.isDefined;
            message = ''
              The option definition `${showOption path}' in ${showFiles option.files} no longer has any effect; please remove it.
              ${instructions}
            '';
          }
        ];
    };
}
