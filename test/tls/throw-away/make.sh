#!/bin/sh
# Makes the PKCS #12 files of this folder anew, with keys that are used nowhere else. Needs OpenSSL 3 with its legacy provider.
set -eu
cd "$(dirname "$0")"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
at() { echo "$temporary/$1"; }
sign() { # NAME KEY-OPTIONS... : NAME.key and NAME.csr
  name=$1
  shift
  openssl req -new -newkey "$@" -nodes -keyout "$(at "$name.key")" -out "$(at "$name.csr")" -subj "/CN=$name" 2>/dev/null
}
ec='ec -pkeyopt ec_paramgen_curve:P-256'
printf 'basicConstraints=critical,CA:TRUE\n' >"$(at ca.ext)"
# shellcheck disable=SC2086
for name in root issuer curve; do sign $name $ec; done
for name in leaf other; do sign $name rsa:2048; done
openssl x509 -req -in "$(at root.csr)" -key "$(at root.key)" -days 36500 -extfile "$(at ca.ext)" -out root.pem 2>/dev/null
under() { # NAME CA OPTIONS...
  name=$1 ca=$2
  shift 2
  openssl x509 -req -in "$(at "$name.csr")" -CA "$ca.pem" -CAkey "$(at "$ca.key")" -set_serial 0x$(openssl rand -hex 8) -days 36500 "$@" -out "$name.pem" 2>/dev/null
}
under issuer root -extfile "$(at ca.ext)"
for name in leaf other curve; do under $name issuer; done
# Not in the order of the chain.
cat root.pem issuer.pem >"$(at chain.pem)"
export_() { # FILE PASSPHRASE OPTIONS...
  file=$1 passphrase=$2
  shift 2
  openssl pkcs12 -export -out "$file" -passout "pass:$passphrase" "$@"
}
leaf="-inkey $(at leaf.key) -in leaf.pem"
# shellcheck disable=SC2086
{
  export_ aes-256.pfx throw-away $leaf -certfile "$(at chain.pem)"
  export_ aes-256-beyond-ascii.pfx 'pässwörd €' $leaf
  export_ aes-128-sha-512.pfx throw-away $leaf -keypbe AES-128-CBC -certpbe AES-128-CBC -macalg sha512
  export_ rc2-3des.pfx throw-away $leaf -certfile "$(at chain.pem)" -legacy
  export_ 3des-beyond-ascii.pfx 'pässwörd €' $leaf -legacy -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES
  export_ empty-passphrase.pfx '' $leaf
  export_ without-mac.pfx throw-away $leaf -nomac
  export_ curve.pfx throw-away -inkey "$(at curve.key)" -in curve.pem
  export_ camellia.pfx throw-away $leaf -keypbe CAMELLIA-256-CBC -certpbe CAMELLIA-256-CBC
  export_ without-key.pfx throw-away -nokeys -in leaf.pem
  export_ without-certificate.pfx throw-away -nocerts -inkey "$(at leaf.key)"
  # Neither encrypted nor signed: parts to be put together.
  export_ part-leaf.pfx x $leaf -nomac -keypbe NONE -certpbe NONE
  export_ part-key.pfx x -nocerts -inkey "$(at leaf.key)" -nomac -keypbe NONE
  export_ part-certificate.pfx x -nokeys -in other.pem -nomac -certpbe NONE
}
cp "$(at leaf.key)" leaf-key.pem
