#!/bin/sh
# A source for SCHEME://NAME: the files of a directory. In the configuration:
#
#   sources: {commands: {local: /etc/shatabdi/source-command.sh /srv/data}}
#
# It is run once for each question. One line of JSON comes in:
#   {"protocol":1,"op":"stat","url":"local://a.bin",...}
#   {"protocol":1,"op":"read","url":"local://a.bin","validator":"...","from":0,"to":4096}
#   {"protocol":1,"op":"list","url":"local://dir/",...}      if what ends in / stands for many
# and one line goes out, with the bytes from..to of that version right behind it for
# a read:
#   {"length":4096,"validator":"...","content_type":"..."}   or {"urls":["..."]}
#   {"error":"not_found","message":"..."}                    or denied, changed, failed
read -r question
field() { printf '%s' "$question" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
fail() { printf '{"error":"%s","message":"%s"}\n' "$1" "$2"; exit 0; }

url=$(field url)
name=${url#*://}
file=$1/$name
case /$name/ in */../*) fail denied "$name leads out" ;; esac

if [ "$(field op)" = list ]; then
	[ -d "$file" ] || fail not_found "there is no $name"
	(cd "$file" && find . -type f) | sed "s|^\./|$url|" | sort | paste -sd, - | sed 's/,/","/g; s/.*/{"urls":["&"]}/'
	exit 0
fi

[ -f "$file" ] || fail not_found "there is no $name"
version=$(stat -c %i-%s-%.9Y-%.9Z "$file")
case $(field op) in
stat)
	printf '{"length":%d,"validator":"%s"}\n' "$(stat -c %s "$file")" "$version"
	;;
read)
	from=$(field from)
	[ "$(field validator)" = "$version" ] || fail changed "$name is another one now"
	printf '{}\n'
	tail -c +$((from + 1)) "$file" | head -c $(($(field to) - from))
	;;
*) fail failed "this can only stat, read and list" ;;
esac
