# Everything; each module also works alone.
{
  imports = [
    ./agent.nix
    ./apps.nix
    ./control-plane.nix
    ./former-options.nix
    ./monitoring.nix
  ];
}
